/* The evaluator: taking images in. See evaluator.h. */
#include "eval/evaluator.h"

#include "core/memory.h"
#include "data/dataset.h"
#include "math/threads.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DN_COCO_DETECTIONS = 100, DN_NUMBER_SIZE = 16 };

/* ---- creating ---- */

static dn_status copy_names(dn_evaluator *evaluator, const dn_evaluator_options *options)
{
    const int32_t count = evaluator->class_count;
    evaluator->names = dn_alloc((size_t)count * sizeof *evaluator->names);
    if (!evaluator->names) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < count; i++) {
        char number[DN_NUMBER_SIZE];
        snprintf(number, sizeof number, "%d", (int)i);
        const char *name = options->class_agnostic ? "object"
                           : options->names        ? options->names[i]
                                                   : number;
        evaluator->names[i] = dn_strdup(name);
        if (!evaluator->names[i]) return DN_ERROR_MEMORY;
    }
    return DN_OK;
}

/* A class's rank: how many have a smaller category id, or the same and a smaller number. */
static dn_status rank_classes(dn_evaluator *evaluator, const int64_t *ids)
{
    const int32_t count = evaluator->options.class_count;
    evaluator->class_ranks = dn_alloc((size_t)count * sizeof *evaluator->class_ranks);
    if (!evaluator->class_ranks) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < count; i++) evaluator->class_ranks[i] = ids ? ids[i] : i;
    return DN_OK;
}

static dn_status prepare(dn_evaluator *evaluator, const dn_evaluator_options *options)
{
    DN_TRY(copy_names(evaluator, options));
    DN_TRY(rank_classes(evaluator, options->category_ids));
    const size_t classes = (size_t)evaluator->class_count, side = classes + 1;
    evaluator->truths = dn_alloc(classes * sizeof *evaluator->truths);
    if (!evaluator->truths) return DN_ERROR_MEMORY;
    for (int32_t kind = 0; kind < dn_eval_kinds(evaluator); kind++) {
        evaluator->confusion[kind] = dn_alloc(side * side * sizeof *evaluator->confusion[kind]);
        if (!evaluator->confusion[kind]) return DN_ERROR_MEMORY;
    }
    return DN_OK;
}

static dn_status check_options(const dn_evaluator_options *options)
{
    if (options->class_count < 1 || options->class_count > DN_CLASSES_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "evaluation: class_count=%d is out of range 1..%d",
                       (int)options->class_count, DN_CLASSES_MAX);
    if (!(options->iou_threshold >= 0 && options->iou_threshold <= 1))
        return dn_fail(DN_ERROR_ARGUMENT, "evaluation: iou_threshold=%g is out of range 0..1",
                       options->iou_threshold);
    if (!isfinite(options->score_threshold) || options->score_threshold < 0)
        return dn_fail(DN_ERROR_ARGUMENT, "evaluation: score_threshold=%g is not a positive number",
                       options->score_threshold);
    if (options->max_detections < 0 || options->map_points < 0 || options->threads < 0)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "evaluation: max_detections=%d, map_points=%d and threads=%d must not be "
                       "negative",
                       (int)options->max_detections, (int)options->map_points,
                       (int)options->threads);
    return DN_OK;
}

dn_status dn_evaluator_create(const dn_evaluator_options *options, dn_evaluator **out)
{
    DN_TRY(check_options(options));
    dn_evaluator *evaluator = dn_alloc(sizeof *evaluator);
    if (!evaluator) return DN_ERROR_MEMORY;
    evaluator->options = *options;
    evaluator->options.names = NULL;
    evaluator->options.category_ids = NULL;
    if (options->max_detections == 0) evaluator->options.max_detections = DN_COCO_DETECTIONS;
    if (options->score_threshold == 0) evaluator->options.score_threshold = .25;
    if (options->iou_threshold == 0) evaluator->options.iou_threshold = .5;
    if (options->threads == 0) evaluator->options.threads = dn_thread_limit();
    evaluator->class_count = options->class_agnostic ? 1 : options->class_count;
    const dn_status status = prepare(evaluator, options);
    if (status == DN_OK)
        *out = evaluator;
    else
        dn_evaluator_free(evaluator);
    return status;
}

void dn_evaluator_free(dn_evaluator *evaluator)
{
    if (!evaluator) return;
    for (int64_t i = 0; i < evaluator->image_count; i++) dn_compared_free(&evaluator->images[i]);
    dn_free(evaluator->images);
    for (int32_t i = 0; evaluator->names && i < evaluator->class_count; i++)
        dn_free(evaluator->names[i]);
    dn_free(evaluator->names);
    dn_free(evaluator->class_ranks);
    dn_free(evaluator->truths);
    for (int32_t kind = 0; kind < DN_KINDS; kind++) dn_free(evaluator->confusion[kind]);
    dn_free(evaluator);
}

/* ---- checking images ---- */

static dn_status check_class(const dn_evaluator *evaluator, int64_t image, int32_t class_id)
{
    if (class_id >= 0 && class_id < evaluator->options.class_count) return DN_OK;
    return dn_fail(DN_ERROR_ARGUMENT, "evaluation: image %lld: class %d is out of range 0..%d",
                   (long long)image, (int)class_id, (int)evaluator->options.class_count - 1);
}

/* `first`: the first mask of the image, which the others must fit. */
static dn_status check_mask(int64_t image, const dn_rle *mask, const dn_rle **first)
{
    if (!mask)
        return dn_fail(DN_ERROR_ARGUMENT, "evaluation: image %lld: an object has no mask",
                       (long long)image);
    if (!*first) *first = mask;
    if (mask->height == (*first)->height && mask->width == (*first)->width) return DN_OK;
    return dn_fail(DN_ERROR_DATA,
                   "evaluation: image %lld: masks of %d x %d and %d x %d pixels (width x height)",
                   (long long)image, (int)(*first)->width, (int)(*first)->height, (int)mask->width,
                   (int)mask->height);
}

static dn_status check_box(int64_t image, const double bbox[4])
{
    if (isfinite(bbox[0]) && isfinite(bbox[1]) && isfinite(bbox[2]) && isfinite(bbox[3]))
        return DN_OK;
    return dn_fail(DN_ERROR_DATA, "evaluation: image %lld: the box %g, %g, %g, %g is not finite",
                   (long long)image, bbox[0], bbox[1], bbox[2], bbox[3]);
}

static dn_status check_truths(const dn_evaluator *evaluator, const dn_eval_image *image,
                              const dn_rle **first)
{
    for (int64_t i = 0; i < image->truth_count; i++) {
        const dn_eval_truth *truth = &image->truths[i];
        DN_TRY(check_class(evaluator, image->id, truth->class_id));
        DN_TRY(check_box(image->id, truth->bbox));
        if (!isfinite(truth->area))
            return dn_fail(DN_ERROR_DATA, "evaluation: image %lld: the area %g is not finite",
                           (long long)image->id, truth->area);
        if (evaluator->options.masks) DN_TRY(check_mask(image->id, truth->mask, first));
    }
    return DN_OK;
}

static dn_status check_image(const dn_evaluator *evaluator, const dn_eval_image *image)
{
    const dn_rle *first = NULL;
    DN_TRY(check_truths(evaluator, image, &first));
    for (int32_t kind = 0; kind < dn_eval_kinds(evaluator); kind++)
        for (int64_t i = 0; i < image->detection_count[kind]; i++) {
            const dn_eval_detection *detection = &image->detections[kind][i];
            DN_TRY(check_class(evaluator, image->id, detection->class_id));
            if (!isfinite(detection->score))
                return dn_fail(DN_ERROR_DATA, "evaluation: image %lld: the score %g is not finite",
                               (long long)image->id, detection->score);
            if (kind == DN_MASKS)
                DN_TRY(check_mask(image->id, detection->mask, &first));
            else
                DN_TRY(check_box(image->id, detection->bbox));
        }
    return DN_OK;
}

/* ---- adding ---- */

static void warn_of_zero(dn_evaluator *evaluator, const dn_eval_image *image)
{
    for (int64_t i = 0; i < image->truth_count && !evaluator->warned_of_zero; i++) {
        if (image->truths[i].id != 0) continue;
        char sentence[200];
        snprintf(sentence, sizeof sentence,
                 "evaluation: image %lld: an annotation has id 0, which pycocotools takes for \"no "
                 "match\": what finds it counts as wrong; number annotations from 1",
                 (long long)image->id);
        if (evaluator->options.warn)
            evaluator->options.warn(evaluator->options.warn_context, sentence);
        evaluator->warned_of_zero = true;
    }
}

/* Counts what an image holds, and makes its owners numbers of the whole evaluation. */
static void count_image(dn_evaluator *evaluator, const dn_eval_image *image, dn_compared *compared)
{
    warn_of_zero(evaluator, image);
    for (int64_t i = 0; i < image->truth_count; i++) {
        const dn_eval_truth *truth = &image->truths[i];
        int64_t *counts = evaluator->truths[dn_eval_class(evaluator, truth->class_id)];
        for (int32_t area = 0; area < DN_AREAS; area++)
            counts[area] += !truth->crowd && truth->area >= dn_eval_areas[area][0] &&
                            truth->area <= dn_eval_areas[area][1];
    }
    for (int32_t kind = 0; kind < dn_eval_kinds(evaluator); kind++) {
        for (int64_t i = 0; i < compared->found_count[kind]; i++)
            if (compared->found[kind][i].owner >= 0)
                compared->found[kind][i].owner += evaluator->owner_count;
        for (int64_t i = 0; i < compared->pair_count[kind]; i++) {
            const dn_pair *pair = &compared->pairs[kind][i];
            const int64_t side = evaluator->class_count + 1;
            evaluator->confusion[kind][pair->truth * side + pair->detection]++;
        }
        dn_free(compared->pairs[kind]);
        compared->pairs[kind] = NULL;
    }
    evaluator->owner_count += image->truth_count;
}

/* Room for `count` more images. */
static dn_status make_room(dn_evaluator *evaluator, int64_t count)
{
    const int64_t wanted = evaluator->image_count + count;
    if (wanted <= evaluator->image_capacity) return DN_OK;
    const int64_t capacity =
        wanted > 2 * evaluator->image_capacity ? wanted : 2 * evaluator->image_capacity;
    const size_t size = sizeof *evaluator->images;
    dn_compared *grown = dn_realloc(evaluator->images, (size_t)evaluator->image_count * size,
                                    (size_t)capacity * size);
    if (!grown) return DN_ERROR_MEMORY;
    evaluator->images = grown;
    evaluator->image_capacity = capacity;
    return DN_OK;
}

dn_status dn_evaluator_add(dn_evaluator *evaluator, const dn_eval_image *images, int64_t count)
{
    for (int64_t i = 0; i < count; i++) DN_TRY(check_image(evaluator, &images[i]));
    DN_TRY(make_room(evaluator, count));
    dn_compared *compared = evaluator->images + evaluator->image_count;
    int64_t failed = 0;
#pragma omp parallel for num_threads(evaluator->options.threads) schedule(dynamic)                 \
    reduction(+ : failed)
    for (int64_t i = 0; i < count; i++)
        failed += dn_compare_image(evaluator, &images[i], &compared[i]) != DN_OK;
    if (failed > 0) {
        for (int64_t i = 0; i < count; i++) dn_compared_free(&compared[i]);
        return dn_fail(DN_ERROR_MEMORY, "evaluation: out of memory");
    }
    for (int64_t i = 0; i < count; i++) count_image(evaluator, &images[i], &compared[i]);
    evaluator->image_count += count;
    return DN_OK;
}
