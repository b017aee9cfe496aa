/* From images to instances: letterbox, forward, boxes, suppression, back to image pixels.
 *
 * The boxes of the heads before [roialign] (all heads without one) are asked with the same
 * threshold and suppression as the RoIs were, so that an instance's `detection` is its RoI's. A box
 * gives one instance for each class whose score is above the threshold, as Darknet prints it.
 */
#include "infer/predict.h"

#include "core/host.h"
#include "core/memory.h"
#include "core/roi_sampling.h"
#include "infer/forward.h"
#include "infer/input.h"
#include "layers/roialign.h"
#include "math/clock.h"

#include <stdlib.h>

#define DN_DEFAULT_THRESHOLD 0.25f

/* Higher scores first, then as they were found. */
static int by_score(const void *a, const void *b)
{
    const dn_instance *left = a, *right = b;
    if (left->score != right->score) return left->score > right->score ? -1 : 1;
    if (left->detection != right->detection) return left->detection < right->detection ? -1 : 1;
    return left->class_id < right->class_id ? -1 : 1;
}

/* The instance of a class that a box keeps; `input` is the network's. */
static dn_instance instance_of(const dn_survivor *kept, const dn_tensor *input,
                               const dn_letterbox *letterbox)
{
    const dn_box net_box = dn_box_scale(kept->box, (float)input->w, (float)input->h);
    return (dn_instance){
        .class_id = kept->class_id,
        .detection = kept->detection,
        .score = kept->prob,
        .objectness = kept->objectness,
        .box = dn_letterbox_to_image(letterbox, net_box),
    };
}

/* One instance for every probability that is left. */
static void list_instances(const dn_network *network, const dn_letterbox *letterbox,
                           dn_instance *instances)
{
    const dn_detections *found = &network->detections;
    int32_t count = 0;
    for (int32_t i = 0; i < found->count; i++)
        for (int32_t c = 0; c < found->classes; c++) {
            const float score = found->probs[(int64_t)i * found->classes + c];
            const dn_candidate *item = &found->items[i];
            const dn_survivor kept = {i, c, score, item->objectness, item->box};
            if (score > 0.0f) instances[count++] = instance_of(&kept, &network->input, letterbox);
        }
}

static dn_status make_room(int64_t count, dn_result *result)
{
    if (count > INT32_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "too many instances (%lld): raise the threshold",
                       (long long)count);
    result->instances = dn_alloc((size_t)count * sizeof *result->instances);
    return result->instances ? DN_OK : DN_ERROR_MEMORY;
}

/* Best first, no more than were asked for. */
static void keep_best(int32_t count, const dn_predict_options *options, dn_result *result)
{
    qsort(result->instances, (size_t)count, sizeof *result->instances, by_score);
    if (options->max_objects > 0 && count > options->max_objects) count = options->max_objects;
    result->instance_count = count;
}

dn_status dn_predict_find(dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          const dn_predict_options *options, dn_result *result)
{
    const int32_t roialign = dn_network_roialign(network);
    const int32_t before = roialign < 0 ? network->layer_count : roialign;
    dn_detections *found = &network->detections;
    dn_pass pass = network->pass;
    if (roialign >= 0)
        pass = dn_roi_detector_pass(&pass, dn_roialign_rules(&network->layers[roialign]));
    DN_TRY(dn_detect(network, &pass, before, image, found));
    int64_t count = 0;
    for (int64_t k = 0; k < (int64_t)found->count * found->classes; k++)
        count += found->probs[k] > 0.0f;
    DN_TRY(make_room(count, result));
    list_instances(network, letterbox, result->instances);
    keep_best((int32_t)count, options, result);
    return DN_OK;
}

dn_status dn_predict_list(const dn_survivor *kept, int32_t count, const dn_tensor *input,
                          const dn_letterbox *letterbox, const dn_predict_options *options,
                          dn_result *result)
{
    DN_TRY(make_room(count, result));
    for (int32_t k = 0; k < count; k++)
        result->instances[k] = instance_of(&kept[k], input, letterbox);
    keep_best(count, options, result);
    return DN_OK;
}

/* An image of width x height of the last pass, but for its masks. */
static dn_status fill_result(dn_network *network, int32_t image, int32_t width, int32_t height,
                             const dn_predict_options *options, dn_result *result)
{
    const dn_input_rule rule = dn_input_rule_of(network, options);
    const dn_letterbox letterbox = dn_input_letterbox(&rule, width, height);
    result->width = width;
    result->height = height;
    return dn_predict_find(network, image, &letterbox, options, result);
}

/* When the parts of a pass were done, in milliseconds. */
typedef struct dn_pass_times {
    double start, prepared, ran, found, done, branch;
} dn_pass_times;

static void tell_times(const dn_pass_times *at, dn_result **results, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        results[i]->preprocess_ms = (at->prepared - at->start) / count;
        results[i]->network_ms = (at->ran - at->prepared) / count;
        results[i]->branch_ms = at->branch / count;
        results[i]->postprocess_ms = (at->done - at->ran) / count;
        results[i]->masks_ms = (at->done - (at->found > at->ran ? at->found : at->ran)) / count;
    }
}

/* The masks of a pass that goes on on a device: strings are asked for before its branch is done,
 * and no other form is. */
static dn_status end_pass(dn_network *network, int32_t count, const dn_predict_options *options,
                          dn_result **out, dn_pass_times *at)
{
    bool begun = false, waited;
    if (options->masks == DN_MASKS_RLE)
        DN_TRY(dn_begin_strings(network, &network->paster, options, out, count, &begun));
    DN_TRY(dn_infer_wait(network, &waited));
    if (waited) at->ran = 1e3 * dn_now();
    at->branch = 1e3 * network->branch_seconds;
    DN_TRY(begun ? dn_end_strings(network->backend, network->paster, out, count)
                 : dn_give_masks(network, 0, count, options, out));
    at->done = 1e3 * dn_now();
    return DN_OK;
}

/* Images of one pass: count <= the network's batch. */
static dn_status predict_pass(dn_network *network, const dn_image *images, int32_t count,
                              const dn_predict_options *options, dn_result **out)
{
    dn_pass_times at = {.start = 1e3 * dn_now()};
    DN_TRY(dn_input_set(network, images, count, options));
    at.prepared = 1e3 * dn_now();
    dn_pass pass = {
        .batch = count, .threshold = options->threshold, .nms = options->nms, .goes_on = true};
    network->branch_seconds = 0.0;
    DN_TRY(dn_infer(network, &pass));
    at.ran = 1e3 * dn_now();
    for (int32_t i = 0; i < count; i++)
        DN_TRY(fill_result(network, i, images[i].width, images[i].height, options, out[i]));
    at.found = 1e3 * dn_now();
    DN_TRY(end_pass(network, count, options, out, &at));
    tell_times(&at, out, count);
    return DN_OK;
}

static dn_status predict_all(dn_network *network, const dn_image *images, int32_t count,
                             const dn_predict_options *options, dn_result **results)
{
    for (int32_t i = 0; i < count; i++) {
        results[i] = dn_alloc(sizeof *results[i]);
        if (!results[i]) return DN_ERROR_MEMORY;
    }
    for (int32_t i = 0; i < count; i += network->batch) {
        const int32_t some = count - i < network->batch ? count - i : network->batch;
        DN_TRY(predict_pass(network, images + i, some, options, results + i));
    }
    return DN_OK;
}

dn_predict_options dn_predict_defaults(const dn_predict_options *options)
{
    dn_predict_options asked = options ? *options : (dn_predict_options){0};
    if (asked.threshold <= 0.0f) asked.threshold = DN_DEFAULT_THRESHOLD;
    if (asked.nms <= 0.0f) asked.nms = -1.0f; /* as the cfg says */
    return asked;
}

dn_status dn_network_predict_batch(dn_network *network, const dn_image *images, int32_t count,
                                   const dn_predict_options *options, dn_result **out)
{
    const dn_predict_options asked = dn_predict_defaults(options);
    DN_TRY(dn_input_check(network, images, count));
    dn_result **results = dn_alloc((size_t)count * sizeof *results);
    if (!results) return DN_ERROR_MEMORY;
    const dn_status status = predict_all(network, images, count, &asked, results);
    for (int32_t i = 0; i < count; i++) {
        if (status == DN_OK)
            out[i] = results[i];
        else
            dn_result_free(results[i]);
    }
    dn_free(results);
    return status;
}

dn_status dn_network_predict(dn_network *network, const dn_image *image,
                             const dn_predict_options *options, dn_result **out)
{
    return dn_network_predict_batch(network, image, 1, options, out);
}

dn_status dn_network_get_result(dn_network *network, int32_t image, int32_t width, int32_t height,
                                const dn_predict_options *options, dn_result **out)
{
    const dn_predict_options asked = options ? *options : (dn_predict_options){0};
    if (image < 0 || image >= network->pass.batch)
        return dn_fail(DN_ERROR_ARGUMENT, "image %d: the last pass had %d", image,
                       network->pass.batch);
    if (width < 1 || height < 1)
        return dn_fail(DN_ERROR_ARGUMENT, "an image of %d x %d has no pixels", width, height);
    DN_TRY(dn_network_enter(network));
    dn_result *result = dn_alloc(sizeof *result);
    if (!result) return DN_ERROR_MEMORY;
    dn_status status = fill_result(network, image, width, height, &asked, result);
    if (status == DN_OK) status = dn_give_masks(network, image, 1, &asked, &result);
    if (status == DN_OK)
        *out = result;
    else
        dn_result_free(result);
    return status;
}

void dn_result_free(dn_result *result)
{
    if (!result) return;
    dn_free(result->instances);
    dn_free(result->masks);
    dn_free(result->rle);
    dn_device_masks_free(result->device_masks);
    dn_free(result);
}
