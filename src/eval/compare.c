/* One image: truths and detections sorted into classes, then compared. See evaluator.h. */
#include "core/memory.h"
#include "eval/evaluator.h"

#include <stdlib.h>
#include <string.h>

/* A truth (score 0) or detection in the order in which it is compared. */
typedef struct dn_key {
    int32_t class_id; /* 0 where classes do not count */
    double score;
    int64_t rank; /* of its class */
    int64_t index;
} dn_key;

static int compare_keys(const void *left, const void *right)
{
    const dn_key *a = left, *b = right;
    if (a->class_id != b->class_id) return a->class_id < b->class_id ? -1 : 1;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static dn_key key_of(const dn_evaluator *evaluator, int32_t class_id, double score, int64_t index)
{
    return (dn_key){dn_eval_class(evaluator, class_id), score, evaluator->class_ranks[class_id],
                    index};
}

/* The memory of one comparison. */
typedef struct dn_bench {
    dn_shape *shapes; /* of the truths, then of the detections */
    dn_key *truths, *detections;
    int64_t *indices; /* the same, only the indices */
} dn_bench;

static dn_status open_bench(const dn_scene *scene, dn_bench *bench)
{
    const size_t truths = (size_t)scene->truth_count, all = truths + (size_t)scene->detection_count;
    bench->shapes = dn_alloc(all * sizeof *bench->shapes);
    bench->truths = dn_alloc(all * sizeof *bench->truths);
    bench->indices = dn_alloc(all * sizeof *bench->indices);
    if (!bench->shapes || !bench->truths || !bench->indices) return DN_ERROR_MEMORY;
    bench->detections = bench->truths + truths;
    return DN_OK;
}

static void close_bench(dn_bench *bench)
{
    dn_free(bench->shapes);
    dn_free(bench->truths);
    dn_free(bench->indices);
}

/* Fills the bench and gives the scene its shapes. */
static void lay_out(dn_scene *scene, dn_kind kind, dn_bench *bench)
{
    const int64_t truths = scene->truth_count;
    for (int64_t t = 0; t < truths; t++) {
        const dn_eval_truth *truth = &scene->truths[t];
        bench->shapes[t] = dn_eval_shape(truth->bbox, kind == DN_MASKS ? truth->mask : NULL);
        bench->truths[t] = key_of(scene->evaluator, truth->class_id, 0, t);
    }
    for (int64_t d = 0; d < scene->detection_count; d++) {
        const dn_eval_detection *detection = &scene->detections[d];
        bench->shapes[truths + d] =
            dn_eval_shape(detection->bbox, kind == DN_MASKS ? detection->mask : NULL);
        bench->detections[d] = key_of(scene->evaluator, detection->class_id, detection->score, d);
    }
    qsort(bench->truths, (size_t)truths, sizeof *bench->truths, compare_keys);
    qsort(bench->detections, (size_t)scene->detection_count, sizeof *bench->detections,
          compare_keys);
    for (int64_t i = 0; i < truths + scene->detection_count; i++)
        bench->indices[i] = bench->truths[i].index;
    scene->truth_shapes = bench->shapes;
    scene->detection_shapes = bench->shapes + truths;
}

/* Class by class; *found_count grows by what was kept. */
static dn_status match_classes(const dn_scene *scene, const dn_bench *bench, dn_found *found,
                               int64_t *found_count)
{
    const int64_t most = scene->evaluator->options.max_detections;
    int64_t t = 0;
    for (int64_t d = 0, d_end; d < scene->detection_count; d = d_end) {
        const int32_t class_id = bench->detections[d].class_id;
        d_end = d;
        while (d_end < scene->detection_count && bench->detections[d_end].class_id == class_id)
            d_end++;
        while (t < scene->truth_count && bench->truths[t].class_id < class_id) t++;
        const int64_t t_begin = t;
        while (t < scene->truth_count && bench->truths[t].class_id == class_id) t++;
        const dn_group group = {
            .truths = bench->indices + t_begin,
            .truth_count = t - t_begin,
            .detections = bench->indices + scene->truth_count + d,
            .detection_count = d_end - d < most ? d_end - d : most,
        };
        DN_TRY(dn_match_group(scene, &group, found + *found_count));
        *found_count += group.detection_count;
    }
    return DN_OK;
}

static dn_status compare_kind(const dn_evaluator *evaluator, const dn_eval_image *image,
                              dn_kind kind, dn_compared *out)
{
    dn_scene scene = {
        .evaluator = evaluator,
        .truths = image->truths,
        .truth_count = image->truth_count,
        .detections = image->detections[kind],
        .detection_count = image->detection_count[kind],
    };
    dn_bench bench = {0};
    out->found[kind] = dn_alloc((size_t)scene.detection_count * sizeof *out->found[kind]);
    dn_status status = out->found[kind] ? open_bench(&scene, &bench) : DN_ERROR_MEMORY;
    if (status == DN_OK) {
        lay_out(&scene, kind, &bench);
        status = match_classes(&scene, &bench, out->found[kind], &out->found_count[kind]);
    }
    if (status == DN_OK)
        status = dn_pair_classes(&scene, &out->pairs[kind], &out->pair_count[kind]);
    close_bench(&bench);
    return status;
}

dn_status dn_compare_image(const dn_evaluator *evaluator, const dn_eval_image *image,
                           dn_compared *out)
{
    *out = (dn_compared){.id = image->id};
    dn_status status = DN_OK;
    for (int32_t kind = 0; status == DN_OK && kind < dn_eval_kinds(evaluator); kind++)
        status = compare_kind(evaluator, image, (dn_kind)kind, out);
    return status;
}

void dn_compared_free(dn_compared *compared)
{
    for (int32_t kind = 0; kind < DN_KINDS; kind++) {
        dn_free(compared->found[kind]);
        dn_free(compared->pairs[kind]);
    }
    *compared = (dn_compared){0};
}
