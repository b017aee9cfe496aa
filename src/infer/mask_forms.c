/* The masks of results in the form that the caller wants: probabilities on the host, COCO's
 * strings, or probabilities that stay on the GPU. See predict.h.
 *
 * A backend with a mask_device makes strings where the branch's answers lie: those of all images of
 * a pass in one go and one copy. Elsewhere, and where some answer is not on the device, the host
 * has the probabilities first and pastes them: the results are the same.
 */
#include "infer/predict.h"

#include "core/memory.h"
#include "core/paster_pool.h"
#include "data/rle.h"
#include "infer/input.h"
#include "layers/mask.h"

#include <math.h>
#include <string.h>

#define DN_MASK_THRESHOLD 0.5f

/* Instances of all results. */
static int64_t count_of(dn_result **results, int32_t count)
{
    int64_t all = 0;
    for (int32_t i = 0; i < count; i++) all += results[i]->instance_count;
    return all;
}

static dn_status check_jobs(const dn_layer *layer, const dn_mask_job *jobs, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        DN_TRY(dn_paste_check(layer->out.w, jobs[k].box, DN_MASK_THRESHOLD));
        DN_TRY(dn_rle_check_size("masks", jobs[k].height, jobs[k].width));
    }
    return DN_OK;
}

static void score(dn_result *result, const float *means)
{
    for (int32_t i = 0; i < result->instance_count; i++)
        result->instances[i].mask_score = result->instances[i].score * means[i];
}

static dn_letterbox letterbox_of(const dn_input_rule *rule, const dn_result *result)
{
    return dn_input_letterbox(rule, result->width, result->height);
}

/* ---- On the host ---- */

/* The instances' probabilities one by one, (instance_count, side, side), NaN for one without. */
static dn_status spread(const dn_result *result, float **out)
{
    const size_t cells = (size_t)result->mask_size * (size_t)result->mask_size;
    float *masks = dn_alloc((size_t)result->instance_count * cells * sizeof *masks);
    if (!masks) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < result->instance_count; i++) {
        const float *from = result->instances[i].mask;
        for (size_t k = 0; k < cells; k++) masks[(size_t)i * cells + k] = from ? from[k] : NAN;
    }
    *out = masks;
    return DN_OK;
}

static void drop_probabilities(dn_result *result)
{
    dn_free(result->masks);
    result->masks = NULL;
    for (int32_t i = 0; i < result->instance_count; i++) result->instances[i].mask = NULL;
}

static dn_status encode_here(dn_result *result)
{
    float *masks = NULL;
    dn_box *boxes = dn_alloc((size_t)result->instance_count * sizeof *boxes);
    dn_status status = boxes ? spread(result, &masks) : DN_ERROR_MEMORY;
    for (int32_t i = 0; i < result->instance_count && status == DN_OK; i++)
        boxes[i] = result->instances[i].mask_box;
    if (status == DN_OK)
        status = dn_masks_encode(&result->rle, &result->rle_bytes, masks, result->mask_size, boxes,
                                 result->instance_count, result->height, result->width,
                                 DN_MASK_THRESHOLD);
    dn_free(masks);
    dn_free(boxes);
    return status;
}

/* ---- On the device ---- */

/* Cuts the strings of all results into those of each. */
static dn_status share_text(const char *text, const float *means, dn_result **results,
                            int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        dn_result *result = results[i];
        const char *end = text;
        for (int32_t k = 0; k < result->instance_count; k++) end += strlen(end) + 1;
        result->rle_bytes = (size_t)(end - text);
        result->rle = dn_alloc(result->rle_bytes);
        if (!result->rle) return DN_ERROR_MEMORY;
        memcpy(result->rle, text, result->rle_bytes);
        score(result, means);
        means += result->instance_count;
        text = end;
    }
    return DN_OK;
}

static dn_status begin_there(dn_network *network, dn_paster **paster, const dn_mask_job *jobs,
                             int32_t job_count, bool *begun)
{
    const dn_mask_device *device = network->backend->masks;
    if (!*paster) DN_TRY(device->create(paster));
    DN_TRY(device->take(*paster, network, jobs, job_count, begun));
    return *begun ? device->encode(*paster, DN_MASK_THRESHOLD) : DN_OK;
}

dn_status dn_end_strings(const dn_backend *backend, dn_paster *paster, dn_result **results,
                         int32_t count)
{
    const char *text;
    const float *means;
    size_t length;
    DN_TRY(backend->masks->text(paster, &text, &length, &means));
    return share_text(text, means, results, count);
}

/* Has the paster hold the masks of one result, from the device or else from the host. */
static dn_status fill_paster(dn_network *network, dn_paster *paster, int32_t image,
                             const dn_letterbox *letterbox, const dn_mask_job *jobs,
                             dn_result *result)
{
    const dn_mask_device *device = network->backend->masks;
    float *masks = NULL;
    bool done;
    DN_TRY(device->take(paster, network, jobs, result->instance_count, &done));
    if (done) return DN_OK;
    DN_TRY(dn_attach_masks(network, image, letterbox, result));
    dn_status status = spread(result, &masks);
    if (status == DN_OK)
        status = device->give(paster, masks, result->mask_size, jobs, result->instance_count);
    dn_free(masks);
    drop_probabilities(result);
    return status;
}

static dn_status keep_one(dn_network *network, dn_paster *paster, int32_t image,
                          const dn_letterbox *letterbox, const dn_mask_job *jobs, float *means,
                          dn_result *result)
{
    DN_TRY(fill_paster(network, paster, image, letterbox, jobs, result));
    DN_TRY(network->backend->masks->means(paster, means));
    return dn_device_masks_of(network, paster, result, &result->device_masks);
}

/* The jobs are those of all results, and so are the means. */
static dn_status keep_there(dn_network *network, int32_t first, int32_t count,
                            const dn_input_rule *rule, const dn_mask_job *jobs, float *means,
                            dn_result **results)
{
    if (!network->pasters) DN_TRY(dn_paster_pool_make(network->backend->masks, &network->pasters));
    for (int32_t i = 0; i < count; i++) {
        const dn_letterbox letterbox = letterbox_of(rule, results[i]);
        dn_paster *paster;
        DN_TRY(dn_paster_pool_take(network->pasters, &paster));
        const dn_status status =
            keep_one(network, paster, first + i, &letterbox, jobs, means, results[i]);
        if (status != DN_OK) {
            network->backend->synchronise(); /* who takes the paster next may be another thread */
            dn_paster_pool_give_back(network->pasters, paster);
            return status;
        }
        jobs += results[i]->instance_count;
        means += results[i]->instance_count;
    }
    return DN_OK;
}

/* The same, waited for: all is there for any thread. */
static dn_status keep_and_wait(dn_network *network, int32_t first, int32_t count,
                               const dn_input_rule *rule, const dn_mask_job *jobs,
                               dn_result **results)
{
    float *means = dn_alloc((size_t)count_of(results, count) * sizeof *means);
    if (!means) return DN_ERROR_MEMORY;
    dn_status status = keep_there(network, first, count, rule, jobs, means, results);
    const dn_status waited = network->backend->synchronise();
    if (status == DN_OK) status = waited;
    if (status == DN_OK) dn_end_kept(results, count, means);
    dn_free(means);
    return status;
}

void dn_end_kept(dn_result **results, int32_t count, const float *means)
{
    for (int32_t i = 0; i < count; means += results[i++]->instance_count) score(results[i], means);
}

/* ---- Forms ---- */

static dn_status give_probabilities(dn_network *network, int32_t first, int32_t count,
                                    const dn_input_rule *rule, dn_result **results)
{
    for (int32_t i = 0; i < count; i++) {
        const dn_letterbox letterbox = letterbox_of(rule, results[i]);
        DN_TRY(dn_attach_masks(network, first + i, &letterbox, results[i]));
    }
    return DN_OK;
}

static dn_status give_strings(dn_network *network, int32_t first, int32_t count,
                              const dn_input_rule *rule, const dn_mask_job *jobs, int32_t job_count,
                              dn_result **results)
{
    bool begun = false;
    if (network->backend->masks)
        DN_TRY(begin_there(network, &network->paster, jobs, job_count, &begun));
    if (begun) return dn_end_strings(network->backend, network->paster, results, count);
    DN_TRY(give_probabilities(network, first, count, rule, results));
    for (int32_t i = 0; i < count; i++) {
        DN_TRY(encode_here(results[i]));
        drop_probabilities(results[i]);
    }
    return DN_OK;
}

/* A job of each instance; freed with dn_free. */
static dn_status list_jobs(const dn_layer *layer, int32_t first, int32_t count,
                           const dn_input_rule *rule, dn_result **results, dn_mask_job **jobs,
                           int32_t *job_count)
{
    const int64_t all = count_of(results, count);
    if (all > INT32_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "too many masks (%lld): raise the threshold",
                       (long long)all);
    *job_count = (int32_t)all;
    *jobs = dn_alloc((size_t)all * sizeof **jobs);
    if (!*jobs) return DN_ERROR_MEMORY;
    dn_mask_job *at = *jobs;
    for (int32_t i = 0; i < count; at += results[i++]->instance_count) {
        const dn_letterbox letterbox = letterbox_of(rule, results[i]);
        dn_list_masks(layer, first + i, &letterbox, results[i], at);
    }
    const dn_status status = check_jobs(layer, *jobs, all);
    if (status != DN_OK) dn_free(*jobs);
    return status;
}

dn_status dn_give_masks(dn_network *network, int32_t first, int32_t count,
                        const dn_predict_options *options, dn_result **results)
{
    const dn_layer *layer = dn_mask_layer_of(network);
    const dn_input_rule rule = dn_input_rule_of(network, options);
    if (options->masks == DN_MASKS_ON_DEVICE && !network->backend->masks)
        return dn_fail(DN_ERROR_DEVICE,
                       "masks stay on a GPU where the network runs on one; this one is on %s",
                       network->device_name);
    if (!layer) return DN_OK;
    if (options->masks == DN_MASKS_PROBABILITIES)
        return give_probabilities(network, first, count, &rule, results);
    dn_mask_job *jobs;
    int32_t job_count;
    DN_TRY(list_jobs(layer, first, count, &rule, results, &jobs, &job_count));
    const dn_status status =
        options->masks == DN_MASKS_RLE
            ? give_strings(network, first, count, &rule, jobs, job_count, results)
            : keep_and_wait(network, first, count, &rule, jobs, results);
    dn_free(jobs);
    return status;
}

dn_status dn_begin_strings(dn_network *network, dn_paster **paster,
                           const dn_predict_options *options, dn_result **results, int32_t count,
                           bool *begun)
{
    const dn_layer *layer = dn_mask_layer_of(network);
    const dn_input_rule rule = dn_input_rule_of(network, options);
    dn_mask_job *jobs;
    int32_t job_count;
    *begun = false;
    if (!layer || !network->backend->masks) return DN_OK;
    DN_TRY(list_jobs(layer, 0, count, &rule, results, &jobs, &job_count));
    const dn_status status = begin_there(network, paster, jobs, job_count, begun);
    dn_free(jobs);
    return status;
}

dn_status dn_begin_kept(dn_network *network, const dn_predict_options *options, dn_result **results,
                        int32_t count, float *means)
{
    const dn_input_rule rule = dn_input_rule_of(network, options);
    dn_mask_job *jobs;
    int32_t job_count;
    DN_TRY(list_jobs(dn_mask_layer_of(network), 0, count, &rule, results, &jobs, &job_count));
    const dn_status status = keep_there(network, 0, count, &rule, jobs, means, results);
    dn_free(jobs);
    return status;
}
