/* Masks of boxes from the maps before their last 1x1 convolution: see half_rows.h.
 *
 * Of the convolution's filters only those are computed that somebody reads: of each box's class and
 * of its extras'. Eight threads add up a cell, each every eighth piece of 16 bytes, so that they
 * read 128 bytes in a row; their sums are added in one order. A block does some cells of a box, one
 * class after the other: what the first has read the next finds in the cache.
 */
#include "half_rows.h"

#include "half.h"

/* Threads of a cell, and cells that each of them works on; both of a block. */
static constexpr int DN_ADDING = 8, DN_CELLS = 4;
static constexpr int DN_MASK_THREADS = DN_ADDING * DN_WARP, DN_MASK_CELLS = DN_CELLS * DN_WARP;

/* Cells first.. of a plane of box r: `out` is the plane. */
template <class T>
static __device__ inline void make_plane(const dn_half_masks *p, int64_t r, int32_t first,
                                         int32_t channel, float *sums, float *out)
{
    const int32_t adding = (int32_t)threadIdx.x % DN_ADDING;
    const int32_t own = first + (int32_t)threadIdx.x / DN_ADDING;
    const T *in = (const T *)p->in + r * p->cells * p->in_pixel;
    const T *filter = (const T *)p->weights + (int64_t)channel * p->c;
    float factors[8], values[8], added[DN_CELLS] = {};
    for (int32_t c = adding * 8; c < p->c; c += DN_ADDING * 8) {
        dn_load_eight(filter + c, factors);
        DN_UNROLL
        for (int k = 0; k < DN_CELLS; k++) {
            const int32_t cell = own + k * DN_WARP;
            if (cell >= p->cells) break;
            dn_load_eight(in + cell * p->in_pixel + c, values);
            DN_UNROLL
            for (int e = 0; e < 8; e++) added[k] += values[e] * factors[e];
        }
    }
    DN_UNROLL
    for (int k = 0; k < DN_CELLS; k++) sums[k * DN_MASK_THREADS + (int)threadIdx.x] = added[k];
    __syncthreads();
    for (int i = (int)threadIdx.x; i < DN_MASK_CELLS; i += DN_MASK_THREADS) {
        float sum = p->biases[channel];
        DN_UNROLL
        for (int k = 0; k < DN_ADDING; k++) sum += sums[i * DN_ADDING + k];
        if (first + i < p->cells) out[first + i] = dn_logistic(sum);
    }
    __syncthreads();
}

/* Grid: boxes, blocks of cells. */
template <class T>
static __global__ void __launch_bounds__(DN_MASK_THREADS)
    mask_planes(const __grid_constant__ dn_half_masks call)
{
    __shared__ float sums[DN_CELLS * DN_MASK_THREADS];
    const dn_half_masks *p = &call;
    const dn_half_live *live = p->live;
    const int64_t r = blockIdx.x;
    const int32_t first = (int32_t)blockIdx.y * DN_MASK_CELLS;
    dn_await_and_release();
    if (r >= *live->rois) return;
    make_plane<T>(p, r, first, p->one ? 0 : p->rois[r].class_id, sums, p->out + r * p->cells);
    if (p->one) return;
    for (int32_t e = live->extra_starts[r]; e < live->extra_starts[r + 1]; e++)
        make_plane<T>(p, r, first, live->extras[e].class_id, sums,
                      live->extra_planes + (int64_t)e * p->cells);
}

dn_status dn_half_mask_planes(bool bf16, const dn_half_masks *call, int32_t rois)
{
    const dim3 grid((unsigned)rois, (unsigned)((call->cells + DN_MASK_CELLS - 1) / DN_MASK_CELLS));
    if (bf16)
        DN_FOLLOW_TILES(mask_planes<__nv_bfloat16>, grid, DN_MASK_THREADS, 0, *call);
    else
        DN_FOLLOW_TILES(mask_planes<__half>, grid, DN_MASK_THREADS, 0, *call);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
