/* Validation: a network over a data set, image after image, into an evaluator.
 *
 * As many images at a time as the network was made for are decoded, run and compared; nothing of
 * them is kept but what the evaluator keeps. Scores and boxes are the floats of dn_instance, as
 * doubles; boxes are clipped to the image as in the result files.
 */
#include "core/memory.h"
#include "core/network.h"
#include "data/dataset.h"
#include "eval/evaluator.h"
#include "layers/mask.h"

enum { DN_OBJECTS = 100 };
static const float DN_THRESHOLD = .001f, DN_OVERLAP = .45f;

typedef struct dn_validation {
    dn_network *network;
    const dn_dataset *dataset;
    const dn_dataset_view *view;
    dn_validate_options options; /* defaults filled in */
    bool paste;                  /* masks are wanted: to be compared, or by the callback */
    bool compare_masks;          /* every label has one */
    dn_evaluator *evaluator;
    int64_t skipped;
    /* Of one batch: */
    dn_image *images;    /* (batch) */
    int64_t *indices;    /* (batch): in the data set */
    dn_result **results; /* (batch) */
    int32_t count;
} dn_validation;

/* ---- one image ---- */

/* What was found in an image, as the evaluator takes it. */
typedef struct dn_findings {
    dn_eval_detection *boxes, *masks;
    dn_rle *rles; /* of the masks */
    int64_t box_count, mask_count;
} dn_findings;

static void free_findings(dn_findings *findings)
{
    for (int64_t i = 0; i < findings->mask_count; i++) dn_rle_free(&findings->rles[i]);
    dn_free(findings->rles);
    dn_free(findings->boxes);
    dn_free(findings->masks);
}

/* The labels know this class, so that it can count. Without any they forbid none. */
static bool is_known(const dn_validation *validation, int32_t class_id)
{
    if (validation->view->class_count == 0) return true;
    return class_id < validation->view->class_count &&
           validation->view->category_ids[class_id] >= 0;
}

static dn_status paste(const dn_validation *validation, const dn_result *result,
                       const dn_instance *instance, int32_t class_id, dn_findings *findings)
{
    dn_rle *rle = &findings->rles[findings->mask_count];
    DN_TRY(dn_mask_paste(rle, instance->mask, result->mask_size, instance->mask_box, result->height,
                         result->width, .5f));
    const float score = validation->options.box_score ? instance->score : instance->mask_score;
    findings->masks[findings->mask_count++] =
        (dn_eval_detection){.score = (double)score, .class_id = class_id, .mask = rle};
    return DN_OK;
}

static dn_status list_findings(const dn_validation *validation, const dn_result *result,
                               dn_findings *findings)
{
    const size_t count = (size_t)result->instance_count;
    findings->boxes = dn_alloc(count * sizeof *findings->boxes);
    findings->masks = dn_alloc(count * sizeof *findings->masks);
    findings->rles = dn_alloc(count * sizeof *findings->rles);
    if (!findings->boxes || !findings->masks || !findings->rles) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < result->instance_count; i++) {
        const dn_instance *instance = &result->instances[i];
        const bool known = is_known(validation, instance->class_id);
        if (!known && !validation->options.class_agnostic) continue;
        const int32_t class_id = known ? instance->class_id : 0;
        const dn_box box = dn_box_clip(instance->box, (float)result->width, (float)result->height);
        findings->boxes[findings->box_count++] = (dn_eval_detection){
            .score = (double)instance->score,
            .bbox = {(double)box.x0, (double)box.y0, (double)box.x1 - (double)box.x0,
                     (double)box.y1 - (double)box.y0},
            .class_id = class_id,
        };
        if (validation->paste && instance->mask)
            DN_TRY(paste(validation, result, instance, class_id, findings));
    }
    return DN_OK;
}

static dn_status compare(dn_validation *validation, int64_t index, const dn_result *result)
{
    const dn_validate_options *options = &validation->options;
    dn_findings findings = {0};
    dn_status status = list_findings(validation, result, &findings);
    if (status == DN_OK) {
        const dn_eval_image found = {
            .id = validation->view->images[index].id,
            .detections = {findings.boxes, findings.masks},
            .detection_count = {findings.box_count, findings.mask_count},
        };
        status = dn_evaluator_add_labelled(validation->evaluator, validation->dataset, index,
                                           result->width, result->height, &found);
        if (status == DN_OK && options->compared)
            options->compared(options->context, index, &found);
    }
    free_findings(&findings);
    return status;
}

/* ---- batches ---- */

/* Decodes an image into the batch; one that cannot be read is reported, or fails where strict. */
static dn_status load(dn_validation *validation, int64_t index)
{
    const dn_validate_options *options = &validation->options;
    const dn_status status =
        dn_image_load(validation->view->images[index].path, &validation->images[validation->count]);
    if (status == DN_OK) {
        validation->indices[validation->count++] = index;
        return DN_OK;
    }
    if (options->strict || status == DN_ERROR_MEMORY) return status;
    validation->skipped++;
    dn_fail_prefix(status, "skipped");
    if (options->message) options->message(options->context, dn_error_message());
    return DN_OK;
}

static dn_status run_batch(dn_validation *validation)
{
    const int32_t count = validation->count;
    if (count == 0) return DN_OK;
    dn_status status = dn_network_predict_batch(validation->network, validation->images, count,
                                                &validation->options.predict, validation->results);
    for (int32_t i = 0; i < count; i++) dn_image_free(&validation->images[i]);
    validation->count = 0;
    if (status != DN_OK) return status;
    for (int32_t i = 0; i < count; i++) {
        if (status == DN_OK)
            status = compare(validation, validation->indices[i], validation->results[i]);
        dn_result_free(validation->results[i]);
    }
    return status;
}

static dn_status run_images(dn_validation *validation)
{
    const dn_validate_options *options = &validation->options;
    const int64_t all = validation->view->image_count;
    const int64_t count = options->limit > 0 && options->limit < all ? options->limit : all;
    for (int64_t i = 0; i < count; i++) {
        if (options->cancelled && options->cancelled(options->context))
            return dn_fail(DN_ERROR_CANCELLED, "validation: cancelled behind %lld of %lld images",
                           (long long)i, (long long)count);
        DN_TRY(load(validation, i));
        if (validation->count < validation->network->batch && i + 1 < count) continue;
        DN_TRY(run_batch(validation));
        if (options->progress) options->progress(options->context, i + 1, count);
    }
    return DN_OK;
}

static dn_status open_batch(dn_validation *validation)
{
    const size_t batch = (size_t)validation->network->batch;
    validation->images = dn_alloc(batch * sizeof *validation->images);
    validation->indices = dn_alloc(batch * sizeof *validation->indices);
    validation->results = dn_alloc(batch * sizeof(dn_result *));
    return validation->images && validation->indices && validation->results ? DN_OK
                                                                            : DN_ERROR_MEMORY;
}

static void close_validation(dn_validation *validation)
{
    for (int32_t i = 0; i < validation->count; i++) dn_image_free(&validation->images[i]);
    dn_free(validation->images);
    dn_free(validation->indices);
    dn_free(validation->results);
    dn_evaluator_free(validation->evaluator);
}

/* ---- the whole ---- */

static bool all_have_masks(const dn_dataset_view *view)
{
    for (int64_t i = 0; i < view->object_count; i++)
        if (view->objects[i].kind == DN_OBJECT_BOX) return false;
    return true;
}

static void fill_defaults(dn_validate_options *options)
{
    if (options->predict.threshold <= 0) options->predict.threshold = DN_THRESHOLD;
    if (options->predict.nms <= 0) options->predict.nms = DN_OVERLAP;
    if (options->predict.max_objects <= 0) options->predict.max_objects = DN_OBJECTS;
    options->predict.masks = DN_MASKS_PROBABILITIES; /* they are pasted one by one */
}

static void choose_masks(dn_validation *validation)
{
    const dn_validate_options *options = &validation->options;
    const bool wanted = !options->boxes_only && dn_mask_layer_of(validation->network);
    validation->compare_masks = wanted && all_have_masks(validation->view);
    validation->paste = validation->compare_masks || (wanted && options->compared);
    if (wanted && !validation->compare_masks && options->message)
        options->message(options->context, "some labels have no mask: only boxes are compared");
}

static dn_status open_evaluator(dn_validation *validation)
{
    const dn_validate_options *options = &validation->options;
    const int32_t labelled = validation->view->class_count;
    const dn_evaluator_options wanted = {
        .class_count = labelled > 0 ? labelled : dn_network_classes(validation->network),
        .names = labelled > 0 ? validation->view->names : NULL,
        .category_ids = labelled > 0 ? validation->view->category_ids : NULL,
        .masks = validation->compare_masks,
        .class_agnostic = options->class_agnostic,
        .max_detections = options->max_detections,
        .score_threshold = options->score_threshold,
        .iou_threshold = options->iou_threshold,
        .map_points = options->map_points,
        .threads = options->threads,
        .warn = options->message,
        .warn_context = options->context,
    };
    return dn_evaluator_create(&wanted, &validation->evaluator);
}

dn_status dn_validate(dn_network *network, const dn_dataset *dataset,
                      const dn_validate_options *options, dn_evaluation **out)
{
    dn_validation validation = {
        .network = network,
        .dataset = dataset,
        .view = dn_dataset_get(dataset),
        .options = options ? *options : (dn_validate_options){.limit = 0},
    };
    fill_defaults(&validation.options);
    choose_masks(&validation);
    dn_evaluation *evaluation = NULL;
    dn_status status = open_evaluator(&validation);
    if (status == DN_OK) status = open_batch(&validation);
    if (status == DN_OK) status = run_images(&validation);
    if (status == DN_OK) status = dn_evaluator_run(validation.evaluator, &evaluation);
    if (status == DN_OK) {
        evaluation->info.skipped = validation.skipped;
        *out = evaluation;
    }
    close_validation(&validation);
    return status;
}
