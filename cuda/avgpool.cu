/* [avgpool] on CUDA.
 *
 * A plane's sum is made of PARTS parts, each of every PARTS-th value and by its own thread, so that
 * threads side by side read values side by side; one thread then adds a plane's parts in their
 * order. The parts are doubles in the workspace, as the CPU's sum is one: another order of the sum,
 * the same float but for rounding. */
#include "launch.h"

#include "math/pool.h"

enum { PARTS = 32 };

static dn_status setup(dn_layer *layer, dn_network *)
{
    layer->workspace_floats =
        layer->out.n * layer->out.c * PARTS * (int64_t)(sizeof(double) / sizeof(float));
    return DN_OK;
}

/* parts (planes, PARTS) of in (planes, size). */
static __global__ void sum_parts(const float *in, int64_t size, double *parts, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int64_t plane = i / PARTS;
        double sum = 0.0;
        for (int64_t at = i % PARTS; at < size; at += PARTS) sum += (double)in[plane * size + at];
        parts[i] = sum;
    }
}

static __global__ void average(const double *parts, int64_t size, float *out, int64_t planes)
{
    DN_GRID_STRIDE(plane, planes) {
        double sum = 0.0;
        for (int32_t part = 0; part < PARTS; part++) sum += parts[plane * PARTS + part];
        out[plane] = dn_mean_of(sum, size);
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t size = (int64_t)in->h * in->w, planes = (int64_t)dn_live(layer, pass) * in->c;
    double *parts = (double *)(void *)pass->workspace;
    DN_LAUNCH(sum_parts, planes * PARTS, in->data, size, parts, planes * PARTS);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(average, planes, parts, size, layer->out.data, planes);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void add_share(const float *grad, int64_t size, float *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) in_grad[i] += dn_mean_share(grad[i / size], size);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(in);
    if (!in->grad) return DN_OK;
    DN_LAUNCH(add_share, count, layer->out.grad, (int64_t)in->h * in->w, in->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_avgpool_cuda = {forward, backward, setup, nullptr};
