/* [route] on CUDA: one launch an input; move.h. */
#include "move.h"

#include "core/status.h"
#include "layers/route.h"

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_route_options *o = (const dn_route_options *)layer->options;
    const dn_tensor *out = &layer->out;
    int64_t offset = 0;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input(layer, pass, k);
        const int64_t part = dn_tensor_size(in) / o->groups;
        const dn_run run = {in->data + o->group_id * part, out->data + offset, part,
                            dn_tensor_size(in), dn_tensor_size(out)};
        DN_TRY(dn_cuda_copy(run, dn_live(layer, pass)));
        offset += part;
    }
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_route_options *o = (const dn_route_options *)layer->options;
    const dn_tensor *out = &layer->out;
    int64_t offset = 0;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input(layer, pass, k);
        const int64_t part = dn_tensor_size(in) / o->groups;
        const dn_run run = {out->grad + offset, in->grad ? in->grad + o->group_id * part : nullptr,
                            part, dn_tensor_size(out), dn_tensor_size(in)};
        offset += part;
        if (run.to) DN_TRY(dn_cuda_add(run, dn_live(layer, pass)));
    }
    return DN_OK;
}

const dn_layer_kernels dn_route_cuda = {forward, backward, nullptr, nullptr};
