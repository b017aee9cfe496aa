/* The masks of a [mask] layer behind a pass of inference: those of the boxes' own classes, which
 * are its output, and of other classes that a box scores in.
 *
 * These are among the logits of all classes where the layer's input has them; a plan, which
 * computes single planes, lists the classes wanted beside (dn_roi_extra, in order) and leaves their
 * probabilities in a block of the layer, or of a device.
 */
#include "core/host.h"
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

/* Where another class's plane begins: among the extras, or among the logits of all classes. */
static dn_status find_start(const dn_layer *layer, const dn_tensor *in,
                            const dn_mask_request *request, int64_t *start)
{
    if (!((const dn_mask *)layer->state)->in_planes) {
        *start = dn_mask_logits_start(layer, in, request->roi, request->class_id);
        return DN_OK;
    }
    const int32_t extra = find_extra(layer, request);
    if (extra < 0)
        return dn_fail(DN_ERROR_ARGUMENT, "box %d has no mask of class %d: its score is 0",
                       request->roi, request->class_id);
    *start = extra * dn_tensor_size(&layer->out);
    return DN_OK;
}

/* starts (at most `count`) of other classes' planes in *planes; where these come from a device, in
 * a copy of those that are wanted. */
static dn_status fetch_others(const dn_layer *layer, const dn_network *network,
                              const dn_mask_request *requests, int32_t count, int64_t *starts,
                              const float **planes)
{
    const dn_mask *state = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const int64_t cells = dn_tensor_size(&layer->out);
    int32_t others = 0;
    for (int32_t i = 0; i < count; i++)
        if (!dn_mask_is_in_output(layer, &requests[i]))
            DN_TRY(find_start(layer, in, &requests[i], &starts[others++]));
    *planes = !state->in_planes ? in->data : network->host ? state->extras_there : state->extras;
    if (!network->host || others == 0) return DN_OK;
    DN_TRY(dn_host_runs(network, *planes, starts, others, cells, planes));
    for (int32_t i = 0; i < others; i++) starts[i] = i * cells;
    return DN_OK;
}

static dn_status give_masks(const dn_layer *layer, const dn_network *network,
                            const dn_mask_request *requests, int32_t count, int64_t *starts,
                            float *out)
{
    const int32_t cells = layer->out.h * layer->out.w;
    const bool in_planes = ((const dn_mask *)layer->state)->in_planes;
    const float *values, *planes;
    DN_TRY(dn_host_output(layer, &network->pass, &values));
    DN_TRY(fetch_others(layer, network, requests, count, starts, &planes));
    for (int32_t i = 0; i < count; i++, out += cells) {
        if (dn_mask_is_in_output(layer, &requests[i])) {
            memcpy(out, values + (int64_t)requests[i].roi * cells, (size_t)cells * sizeof *out);
            continue;
        }
        const float *from = planes + *starts++; /* probabilities among the extras, or logits */
        if (in_planes)
            memcpy(out, from, (size_t)cells * sizeof *out);
        else
            for (int32_t k = 0; k < cells; k++) out[k] = dn_logistic(from[k]);
    }
    return DN_OK;
}

dn_status dn_masks_of(const dn_layer *layer, const dn_network *network,
                      const dn_mask_request *requests, int32_t count, float *out)
{
    int64_t *starts = dn_alloc((size_t)count * sizeof *starts);
    if (!starts) return DN_ERROR_MEMORY;
    const dn_status status = give_masks(layer, network, requests, count, starts, out);
    dn_free(starts);
    return status;
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
