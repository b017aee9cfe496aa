/* [route] on CUDA: one launch an input. */
#include "launch.h"

#include "layers/route.h"

/* A run of `part` values in every image: `from` and `to` are the first image's, the steps lead to
 * the next one's. */
typedef struct dn_route_run {
    const float *from;
    float *to;
    int64_t part, from_step, to_step;
} dn_route_run;

static __global__ void copy(dn_route_run run, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int64_t n = i / run.part, at = i - n * run.part;
        run.to[n * run.to_step + at] = run.from[n * run.from_step + at];
    }
}

static __global__ void add(dn_route_run run, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int64_t n = i / run.part, at = i - n * run.part;
        run.to[n * run.to_step + at] += run.from[n * run.from_step + at];
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_route_options *o = (const dn_route_options *)layer->options;
    const dn_tensor *out = &layer->out;
    int64_t offset = 0;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input(layer, pass, k);
        const int64_t part = dn_tensor_size(in) / o->groups;
        const dn_route_run run = {in->data + o->group_id * part, out->data + offset, part,
                                  dn_tensor_size(in), dn_tensor_size(out)};
        DN_LAUNCH(copy, dn_live(layer, pass) * part, run, dn_live(layer, pass) * part);
        DN_CUDA_TRY(cudaGetLastError());
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
        const float *grad = out->grad + offset;
        offset += part;
        if (!in->grad) continue;
        const dn_route_run run = {grad, in->grad + o->group_id * part, part, dn_tensor_size(out),
                                  dn_tensor_size(in)};
        DN_LAUNCH(add, dn_live(layer, pass) * part, run, dn_live(layer, pass) * part);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return DN_OK;
}

const dn_layer_kernels dn_route_cuda = {forward, backward, nullptr, nullptr};
