/* The masks of a [mask] layer behind a pass of inference: those of the boxes' own classes, which
 * are its output, and of other classes that a box scores in.
 *
 * These are among the logits of all classes where the layer's input has them; a plan, which
 * computes single planes, lists the classes wanted beside (dn_roi_extra, in order) and leaves their
 * probabilities in a block of the layer, or of a device.
 */
#include "core/host.h"
#include "core/mask_device.h"
#include "core/memory.h"
#include "layers/mask.h"
#include "layers/roialign.h"
#include "math/activation.h"

#include <string.h>

dn_status dn_mask_begin_extras(dn_layer *layer, float **extras)
{
    dn_mask *state = layer->state;
    const int64_t floats = layer->rois->extra_count * dn_tensor_size(&layer->out);
    state->in_planes = true;
    if (floats > state->extra_floats) {
        dn_free(state->extras);
        state->extra_floats = 0;
        state->extras = dn_alloc(2 * (size_t)floats * sizeof *state->extras);
        if (!state->extras) return DN_ERROR_MEMORY;
        state->extra_floats = 2 * floats;
    }
    *extras = state->extras;
    return DN_OK;
}

void dn_mask_set_extras(dn_layer *layer, const float *extras)
{
    dn_mask *state = layer->state;
    state->in_planes = true;
    state->extras_there = extras;
}

/* Which of the extra classes it is; -1: it was not asked for. */
static int32_t find_extra(const dn_layer *layer, const dn_mask_request *request)
{
    const dn_roi_set *set = layer->rois;
    const int32_t roi = request->roi, class_id = request->class_id;
    int32_t low = 0, high = set->extra_count;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const dn_roi_extra *extra = &set->extras[middle];
        if (extra->roi < roi || (extra->roi == roi && extra->class_id < class_id))
            low = middle + 1;
        else
            high = middle;
    }
    const bool found = low < set->extra_count && set->extras[low].roi == roi &&
                       set->extras[low].class_id == class_id;
    return found ? low : -1;
}

bool dn_mask_is_in_output(const dn_layer *layer, const dn_mask_request *request)
{
    const dn_mask_options *o = layer->options;
    return o->classes == 1 || request->class_id == layer->rois->rois[request->roi].class_id;
}

static dn_status check_extra(const dn_layer *layer, const dn_mask_request *request)
{
    const bool listed = ((const dn_mask *)layer->state)->in_planes;
    if (!listed || dn_mask_is_in_output(layer, request) || find_extra(layer, request) >= 0)
        return DN_OK;
    return dn_fail(DN_ERROR_ARGUMENT, "box %d has no mask of class %d: its score is 0",
                   request->roi, request->class_id);
}

/* The class's plane in host memory: of `values`, the output, of the extras, or *logits. */
static const float *plane_of(const dn_layer *layer, const dn_network *network,
                             const dn_mask_request *request, const float *values, bool *logits)
{
    const int64_t cells = dn_tensor_size(&layer->out);
    const dn_mask *state = layer->state;
    *logits = false;
    if (dn_mask_is_in_output(layer, request)) return values + request->roi * cells;
    if (state->in_planes) return state->extras + find_extra(layer, request) * cells;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    *logits = true;
    return in->data + dn_mask_logits_start(layer, in, request->roi, request->class_id);
}

static dn_status give_masks(const dn_layer *layer, const dn_network *network,
                            const dn_mask_request *requests, int32_t count, float *out)
{
    const int32_t cells = layer->out.h * layer->out.w;
    const float *values;
    DN_TRY(dn_host_output(layer, &network->pass, &values));
    for (int32_t i = 0; i < count; i++, out += cells) {
        bool logits;
        const float *from = plane_of(layer, network, &requests[i], values, &logits);
        if (logits)
            for (int32_t k = 0; k < cells; k++) out[k] = dn_logistic(from[k]);
        else
            memcpy(out, from, (size_t)cells * sizeof *out);
    }
    return DN_OK;
}

/* Has the device make them, in one copy: their bits are those of the strings that it makes. */
static dn_status bring_masks(dn_network *network, const dn_mask_request *requests, int32_t count,
                             float *out)
{
    const dn_mask_device *device = network->backend->masks;
    bool done;
    if (!network->paster) DN_TRY(device->create(&network->paster));
    dn_mask_job *jobs = dn_alloc((size_t)count * sizeof *jobs);
    if (!jobs) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < count; i++)
        jobs[i] = (dn_mask_job){.roi = requests[i].roi, .class_id = requests[i].class_id};
    dn_status status = device->take(network->paster, network, jobs, count, &done);
    if (status == DN_OK) status = device->read(network->paster, out);
    dn_free(jobs);
    return status;
}

dn_status dn_masks_of(const dn_layer *layer, dn_network *network, const dn_mask_request *requests,
                      int32_t count, float *out)
{
    bool in_output = true;
    for (int32_t i = 0; i < count; i++) {
        DN_TRY(check_extra(layer, &requests[i]));
        in_output = in_output && dn_mask_is_in_output(layer, &requests[i]);
    }
    return network->host && !in_output ? bring_masks(network, requests, count, out)
                                       : give_masks(layer, network, requests, count, out);
}

const float *dn_mask_values_of(const dn_layer *layer, const dn_network *network,
                               const dn_mask_request *request, bool *logits)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const dn_mask *state = layer->state;
    *logits = false;
    if (dn_mask_is_in_output(layer, request))
        return layer->out.data + request->roi * dn_tensor_size(&layer->out);
    if (state->in_planes) {
        const int32_t extra = find_extra(layer, request);
        return extra < 0 ? NULL : state->extras_there + extra * dn_tensor_size(&layer->out);
    }
    *logits = true;
    return in->data + dn_mask_logits_start(layer, in, request->roi, request->class_id);
}
