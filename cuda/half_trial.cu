/* See half_trial.h. */
#include "half_trial.h"

#include "half.h"

/* -1 to 1, in an order that does not look like one. */
template <class T> static __global__ void fill(T *values, int64_t count)
{
    DN_GRID_STRIDE(i, count)
        values[i] = dn_narrow<T>((float)((uint32_t)i * 2654435761u >> 8) / 8388608.0f - 1.0f);
}

static cudaError_t fill_block(bool bf16, void *block, size_t bytes)
{
    const int64_t count = (int64_t)(bytes / 2);
    if (bf16)
        DN_LAUNCH(fill<__nv_bfloat16>, count, (__nv_bfloat16 *)block, count);
    else
        DN_LAUNCH(fill<__half>, count, (__half *)block, count);
    return cudaGetLastError();
}

static size_t rounded(int64_t bytes) /* to what cudaMalloc aligns */
{
    return (size_t)((bytes + 255) / 256 * 256);
}

static size_t cache_bytes()
{
    int device = 0, bytes = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device) != cudaSuccess) {
        cudaGetLastError(); /* or the next launch would report this one */
        return 0;
    }
    return (size_t)bytes;
}

bool dn_half_trial_make(const dn_half_conv *conv, dn_half_trial *trial)
{
    const int64_t n = conv->images, out = n * conv->out_h * conv->out_w;
    const int32_t filters = conv->groups * conv->filters;
    const int64_t each = (int64_t)conv->enlargement * conv->repeats, enlarged = out * each * each;
    const size_t out_bytes =
        rounded(conv->planar_out ? out * filters * 4 : enlarged * conv->out_pixel * 2);
    const size_t in_bytes = rounded(n * conv->in_image * 2);
    const size_t add_bytes = conv->add ? rounded(out * conv->add_pixel * 2) : 0;
    *trial = {};
    trial->weight_bytes = rounded(dn_half_conv_values(conv) * 2);
    trial->copies = 1 + (int64_t)(2 * cache_bytes() / trial->weight_bytes);
    const size_t weights = (size_t)trial->copies * trial->weight_bytes;
    if (cudaMalloc(&trial->block, weights + out_bytes + add_bytes + in_bytes) != cudaSuccess ||
        fill_block(conv->bf16, trial->block, weights + out_bytes + add_bytes + in_bytes) !=
            cudaSuccess) {
        cudaGetLastError();
        cudaFree(trial->block);
        return false;
    }
    trial->weights = (char *)trial->block;
    trial->call = *conv;
    trial->call.out = trial->weights + weights;
    if (conv->add) trial->call.add = trial->weights + weights + out_bytes;
    trial->call.in = trial->weights + weights + out_bytes + add_bytes;
    return true;
}

void dn_half_trial_free(dn_half_trial *trial)
{
    cudaFree(trial->block);
}

dn_status dn_half_trial_run(dn_half_trial *trial, dn_half_form form,
                            const dn_half_workspace *workspace)
{
    trial->call.weights =
        trial->weights + (size_t)(trial->next++ % trial->copies) * trial->weight_bytes;
    return dn_half_run(&trial->call, form, workspace);
}
