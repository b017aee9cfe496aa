/* From what was compared to figures: dn_evaluator_run and its outcome. See evaluator.h.
 *
 * Classes are worked on in parallel, each by one thread, so that results do not depend on how many
 * there are.
 */
#include "core/memory.h"
#include "eval/evaluator.h"

#include <stdlib.h>
#include <string.h>

const char *const dn_kind_names[DN_KINDS] = {"boxes", "masks"};
const char *const dn_number_names[DN_NUMBERS] = {"AP",        "AP50",     "AP75",      "AP_small",
                                                 "AP_medium", "AP_large", "AR1",       "AR10",
                                                 "AR",        "AR_small", "AR_medium", "AR_large"};

static const int32_t f1_ious[DN_F1_IOUS] = {DN_IOU_50, DN_IOU_75};

/* ---- order ---- */

static int compare_entries(const void *left, const void *right)
{
    const dn_entry *a = left, *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

void dn_sort_entries(dn_entry *entries, int64_t count)
{
    qsort(entries, (size_t)count, sizeof *entries, compare_entries);
}

static int compare_images(const void *left, const void *right)
{
    const dn_compared *const *a = left, *const *b = right;
    if ((*a)->id != (*b)->id) return (*a)->id < (*b)->id ? -1 : 1;
    return 0;
}

/* The images by rising id; freed with dn_free. */
static dn_status sort_images(const dn_evaluator *evaluator, const dn_compared ***out)
{
    const int64_t count = evaluator->image_count;
    const dn_compared **sorted = dn_alloc((size_t)count * sizeof *sorted);
    if (!sorted) return DN_ERROR_MEMORY;
    for (int64_t i = 0; i < count; i++) sorted[i] = &evaluator->images[i];
    qsort(sorted, (size_t)count, sizeof *sorted, compare_images);
    for (int64_t i = 1; i < count; i++)
        if (sorted[i]->id == sorted[i - 1]->id) {
            const long long id = (long long)sorted[i]->id;
            dn_free(sorted);
            return dn_fail(DN_ERROR_ARGUMENT, "evaluation: image %lld was added twice", id);
        }
    *out = sorted;
    return DN_OK;
}

/* All detections of a kind, class after class. */
typedef struct dn_ordered {
    dn_entry *entries;
    int64_t *ends; /* (class_count): behind the last entry of each class */
    int64_t count;
} dn_ordered;

static dn_status order_detections(const dn_evaluator *evaluator, const dn_compared *const *images,
                                  dn_kind kind, dn_ordered *out)
{
    const int32_t classes = evaluator->class_count;
    int64_t *ends = out->ends = dn_alloc((size_t)classes * sizeof *ends);
    if (!ends) return DN_ERROR_MEMORY;
    for (int64_t i = 0; i < evaluator->image_count; i++) {
        out->count += images[i]->found_count[kind];
        for (int64_t k = 0; k < images[i]->found_count[kind]; k++)
            ends[images[i]->found[kind][k].class_id]++;
    }
    out->entries = dn_alloc((size_t)out->count * sizeof *out->entries);
    if (!out->entries) return DN_ERROR_MEMORY;
    for (int64_t c = 0, begin = 0; c < classes; c++) {
        const int64_t count = ends[c];
        ends[c] = begin;
        begin += count;
    }
    for (int64_t i = 0; i < evaluator->image_count; i++)
        for (int64_t k = 0; k < images[i]->found_count[kind]; k++) {
            const dn_found *found = &images[i]->found[kind][k];
            const int64_t place = ends[found->class_id]++;
            out->entries[place] = (dn_entry){found->score, place, found};
        }
    return DN_OK;
}

static void free_ordered(dn_ordered *ordered)
{
    dn_free(ordered->entries);
    dn_free(ordered->ends);
}

/* ---- figures ---- */

static dn_status measure_class(const dn_evaluator *evaluator, const dn_ordered *ordered,
                               int32_t class_id, uint8_t *owners, double *precision,
                               dn_metrics *metrics)
{
    const int64_t begin = class_id > 0 ? ordered->ends[class_id - 1] : 0;
    const int64_t count = ordered->ends[class_id] - begin;
    const int64_t *truths = evaluator->truths[class_id];
    dn_entry *entries = ordered->entries + begin;
    dn_sort_entries(entries, count);
    metrics->truths = truths[0];
    metrics->detections = count;
    DN_TRY(dn_accumulate_class(entries, count, truths, precision, metrics->numbers));
    for (int32_t i = 0; i < DN_F1_IOUS; i++)
        dn_f1_of_entries(entries, count, truths[0], f1_ious[i], evaluator->options.score_threshold,
                         &metrics->f1[i], &metrics->best_f1[i]);
    DN_TRY(dn_darknet_of_entries(evaluator, entries, count, truths[0], owners, &metrics->darknet));
    return DN_OK;
}

/* Means over the classes that have such truths. */
static void average_numbers(const dn_metrics *classes, int32_t class_count, dn_metrics *all)
{
    for (int32_t n = 0; n < DN_NUMBERS; n++) {
        double sum = 0;
        int32_t count = 0;
        for (int32_t c = 0; c < class_count; c++) {
            if (classes[c].numbers[n] < 0) continue;
            sum += classes[c].numbers[n];
            count++;
        }
        all->numbers[n] = count > 0 ? sum / count : -1;
    }
}

static void finish_darknet(dn_darknet_map *map)
{
    const int64_t positives = map->counts.true_positives + map->counts.false_positives;
    dn_f1_shares(&map->counts);
    map->average_iou = positives > 0 ? map->average_iou / (double)positives : 0;
}

static void sum_darknet(dn_metrics *classes, int32_t class_count, dn_metrics *all)
{
    dn_darknet_map *sum = &all->darknet;
    sum->counts.threshold = classes[0].darknet.counts.threshold;
    for (int32_t c = 0; c < class_count; c++) {
        dn_darknet_map *map = &classes[c].darknet;
        sum->ap += map->ap / class_count;
        sum->average_iou += map->average_iou;
        sum->counts.true_positives += map->counts.true_positives;
        sum->counts.false_positives += map->counts.false_positives;
        sum->counts.false_negatives += map->counts.false_negatives;
        finish_darknet(map);
    }
    finish_darknet(sum);
}

/* Figures of all classes together, from theirs. The order of the entries changes. */
static void measure_all(const dn_evaluator *evaluator, const dn_ordered *ordered,
                        dn_metrics *classes)
{
    const int32_t class_count = evaluator->class_count;
    dn_metrics *all = &classes[class_count];
    for (int32_t c = 0; c < class_count; c++) {
        all->truths += classes[c].truths;
        all->detections += classes[c].detections;
    }
    average_numbers(classes, class_count, all);
    sum_darknet(classes, class_count, all);
    dn_sort_entries(ordered->entries, ordered->count);
    for (int32_t i = 0; i < DN_F1_IOUS; i++)
        dn_f1_of_entries(ordered->entries, ordered->count, all->truths, f1_ious[i],
                         evaluator->options.score_threshold, &all->f1[i], &all->best_f1[i]);
}

static dn_status measure_kind(const dn_evaluator *evaluator, const dn_compared *const *images,
                              dn_kind kind, dn_evaluation *evaluation)
{
    enum { CURVES = DN_IOUS * DN_RECALLS };
    const size_t classes = (size_t)evaluator->class_count, cells = (classes + 1) * (classes + 1);
    dn_metrics *metrics = dn_alloc((classes + 1) * sizeof *metrics);
    double *precision = dn_alloc(classes * CURVES * sizeof *precision);
    int64_t *confusion = dn_alloc(cells * sizeof *confusion);
    uint8_t *owners = dn_alloc((size_t)evaluator->owner_count);
    dn_ordered ordered = {0};
    evaluation->metrics[kind] = metrics;
    evaluation->precision[kind] = precision;
    evaluation->confusion[kind] = confusion;
    dn_status status = metrics && precision && confusion && owners ? DN_OK : DN_ERROR_MEMORY;
    if (status == DN_OK) status = order_detections(evaluator, images, kind, &ordered);
    if (status == DN_OK) {
        memcpy(confusion, evaluator->confusion[kind], cells * sizeof *confusion);
        int32_t failed = 0;
#pragma omp parallel for num_threads(evaluator->options.threads) schedule(dynamic)                 \
    reduction(+ : failed)
        for (int32_t c = 0; c < evaluator->class_count; c++)
            failed += measure_class(evaluator, &ordered, c, owners, precision + (int64_t)c * CURVES,
                                    &metrics[c]) != DN_OK;
        if (failed > 0) status = dn_fail(DN_ERROR_MEMORY, "evaluation: out of memory");
    }
    if (status == DN_OK) measure_all(evaluator, &ordered, metrics);
    free_ordered(&ordered);
    dn_free(owners);
    return status;
}

/* ---- the outcome ---- */

static dn_status describe(const dn_evaluator *evaluator, dn_evaluation *evaluation)
{
    const int32_t classes = evaluator->class_count;
    evaluation->names = dn_alloc((size_t)classes * sizeof *evaluation->names);
    if (!evaluation->names) return DN_ERROR_MEMORY;
    evaluation->info = (dn_evaluation_info){
        .images = evaluator->image_count,
        .class_count = classes,
        .names = (const char *const *)evaluation->names,
        .max_detections = evaluator->options.max_detections,
        .map_points = evaluator->options.map_points,
        .score_threshold = evaluator->options.score_threshold,
        .iou_threshold = evaluator->options.iou_threshold,
    };
    for (int32_t i = 0; i < classes; i++) {
        evaluation->names[i] = dn_strdup(evaluator->names[i]);
        if (!evaluation->names[i]) return DN_ERROR_MEMORY;
    }
    return DN_OK;
}

dn_status dn_evaluator_run(const dn_evaluator *evaluator, dn_evaluation **out)
{
    const dn_compared **images = NULL;
    dn_evaluation *evaluation = dn_alloc(sizeof *evaluation);
    if (!evaluation) return DN_ERROR_MEMORY;
    dn_status status = describe(evaluator, evaluation);
    if (status == DN_OK) status = sort_images(evaluator, &images);
    for (int32_t kind = 0; status == DN_OK && kind < dn_eval_kinds(evaluator); kind++)
        status = measure_kind(evaluator, images, (dn_kind)kind, evaluation);
    dn_free(images);
    if (status == DN_OK)
        *out = evaluation;
    else
        dn_evaluation_free(evaluation);
    return status;
}

void dn_evaluation_free(dn_evaluation *evaluation)
{
    if (!evaluation) return;
    for (int32_t i = 0; evaluation->names && i < evaluation->info.class_count; i++)
        dn_free(evaluation->names[i]);
    dn_free(evaluation->names);
    for (int32_t kind = 0; kind < DN_KINDS; kind++) {
        dn_free(evaluation->metrics[kind]);
        dn_free(evaluation->precision[kind]);
        dn_free(evaluation->confusion[kind]);
    }
    dn_free(evaluation);
}

const dn_evaluation_info *dn_evaluation_get(const dn_evaluation *evaluation)
{
    return &evaluation->info;
}

static bool has(const dn_evaluation *evaluation, dn_kind kind)
{
    return (kind == DN_BOXES || kind == DN_MASKS) && evaluation->metrics[kind];
}

const dn_metrics *dn_evaluation_metrics(const dn_evaluation *evaluation, dn_kind kind,
                                        int32_t class_id)
{
    const int32_t classes = evaluation->info.class_count;
    if (!has(evaluation, kind) || class_id < -1 || class_id >= classes) return NULL;
    return &evaluation->metrics[kind][class_id < 0 ? classes : class_id];
}

const double *dn_evaluation_precision(const dn_evaluation *evaluation, dn_kind kind,
                                      int32_t class_id)
{
    if (!has(evaluation, kind) || class_id < 0 || class_id >= evaluation->info.class_count)
        return NULL;
    return evaluation->precision[kind] + (int64_t)class_id * DN_IOUS * DN_RECALLS;
}

const int64_t *dn_evaluation_confusion(const dn_evaluation *evaluation, dn_kind kind)
{
    return has(evaluation, kind) ? evaluation->confusion[kind] : NULL;
}
