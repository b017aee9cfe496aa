/* The kernel of a tile by warpgroups (warpgroup.h) whose slabs the tensor copy engine brings
 * (bulk.h), for Hopper: see half_conv.h.
 *
 * A block of threads owns ROWS output pixels x COLUMNS filters of one group and one part of the
 * sum, and walks along the sum in slabs of 64 channels of a tap, or of 32. One thread of a warp of
 * its own asks for slabs, STAGES of them ahead; warpgroups of 64 rows each multiply them straight
 * from shared memory. Two barriers a stage: `full`, whose bytes are there, and `empty`, at which
 * the warps arrive that have done with it; nobody else waits.
 *
 * Blocks are in clusters, whose x are tiles of rows, y tiles of columns and z parts of the sum.
 * Blocks of the same rows read the same pixels: each asks for a part of them, which all of them
 * get; so do blocks of the same columns with weights. What a stage holds is then asked for when it
 * is empty in all of them. The parts of a sum are joined, and all ends, as half_hopper_end.h says.
 *
 * Limits: compute capability 9.0 alone, what half_rules.cu says fits, clusters of at most 8.
 */
#ifndef DN_CUDA_HALF_HOPPER_H
#define DN_CUDA_HALF_HOPPER_H

#include "half_hopper_slabs.h"

/* Tells those of the cluster's blocks that fill this stage that the warp has done with it. */
static __device__ inline void dn_hopper_free(dn_barrier *empty, uint32_t blocks)
{
    for (uint32_t i = threadIdx.x % DN_WARP; i < DN_MOST_PARTS; i += DN_WARP)
        if (blocks >> i & 1) dn_barrier_arrive(empty, i);
}

/* sums = the block's part of the sum. */
template <class T, class S>
static __device__ inline void dn_hopper_add(const dn_hopper_tile *tile, T *stages,
                                            dn_hopper_barriers barriers, float (&sums)[S::SUMS])
{
    const int32_t count = tile->end - tile->begin;
    const int group = dn_warp_number() / 4;
    const uint32_t fill = dn_hopper_of_rows() | dn_hopper_of_columns();
    const dn_factor a = dn_factor_at(stages + dn_hopper_row(4 * group) * S::SLAB);
    const dn_factor b = dn_factor_at(stages + S::ROWS * S::SLAB);
    DN_UNROLL
    for (int e = 0; e < S::SUMS; e++) sums[e] = 0.0f;
    int stage = 0, last = 0;
    uint32_t parity = 0;
    for (int32_t slab = 0; slab < count; slab++) {
        dn_barrier_wait(&barriers.full[stage], parity);
        dn_multiply_rows<T, S::SLAB>(sums, dn_factor_behind(a, stage * S::STAGE * 2),
                                     dn_factor_behind(b, stage * S::STAGE * 2));
        dn_wait_for_products<1>(); /* those of the slab before have ended */
        if (slab > 0 && slab - 1 + S::STAGES < count) dn_hopper_free(&barriers.empty[last], fill);
        last = stage;
        if (++stage < S::STAGES) continue;
        stage = 0;
        parity ^= 1;
    }
    dn_wait_for_sums(sums);
}

/* Makes the block's barriers; behind it every block of the cluster has its own. */
template <class S> static __device__ inline void dn_hopper_begin(dn_hopper_barriers barriers)
{
    const dim3 size = dn_cluster_size();
    if (threadIdx.x == 0) {
        for (int s = 0; s < S::STAGES; s++) {
            dn_barrier_make(&barriers.full[s], 1);
            dn_barrier_make(&barriers.empty[s], S::WARPS * (size.x + size.y - 1));
        }
        dn_show_barriers();
    }
    if (size.x * size.y * size.z == 1)
        __syncthreads();
    else
        dn_leave_cluster();
}

/* Grid: tiles of rows, tiles of columns of all groups, parts of the sum. */
template <class T, class S>
static __global__ void __launch_bounds__(S::THREADS, S::BLOCKS)
    dn_hopper_multiply(const __grid_constant__ dn_half_conv conv,
                       const __grid_constant__ dn_hopper_tensors tensors)
{
    DN_DYNAMIC_SHARED(anywhere);
    char *shared = anywhere + (0u - dn_shared_address(anywhere)) % DN_ALIGNED;
    T *stages = (T *)(void *)shared;
    dn_barrier *made = (dn_barrier *)(void *)(shared + S::STAGES * S::STAGE * 2);
    const dn_hopper_barriers barriers = {made, made + S::STAGES};
    const dn_hopper_tile tile = dn_hopper_tile_of<S>(&conv);
    const bool computes = dn_warp_number() < S::WARPS;
    float sums[S::SUMS];
    if (threadIdx.x == S::WARPS * DN_WARP) {
        dn_expect_tensor(&tensors.filters);
        dn_expect_tensor(&tensors.pixels);
    }
    dn_hopper_begin<S>(barriers);
    if (computes) {
        dn_await_inputs(); /* addends; and outputs, which others may still be reading */
        dn_hopper_add<T, S>(&tile, stages, barriers, sums);
    } else if ((int)threadIdx.x % DN_WARP == 0) {
        dn_hopper_produce<T, S>(&conv, &tensors, &tile, stages, barriers);
    }
    __syncthreads(); /* no warpgroup reads a stage any more */
    if (gridDim.z > 1)
        dn_hopper_join<T, S>(&conv, &tile, shared, sums);
    else if (computes)
        dn_hopper_end<T, S>(&conv, &tile, shared, sums);
}

template <class T, class S>
static dn_status dn_hopper_launch(const dn_half_conv *conv, dn_half_form form,
                                  const dn_half_workspace *)
{
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int64_t down = (pixels + S::ROWS - 1) / S::ROWS;
    const int32_t across = (conv->filters + S::COLUMNS - 1) / S::COLUMNS;
    const dim3 cluster((unsigned)form.down, (unsigned)form.across, (unsigned)form.splits);
    const dim3 grid((unsigned)((down + form.down - 1) / form.down * form.down),
                    (unsigned)(across * conv->groups), (unsigned)form.splits);
    dn_hopper_tensors tensors;
    DN_TRY(dn_tensor_of_pixels(conv, S::SLAB, S::ROWS / form.across, &tensors.pixels));
    DN_TRY(dn_tensor_of_filters(conv, S::SLAB, S::COLUMNS / form.down, &tensors.filters));
    DN_CUDA_TRY(cudaFuncSetAttribute((const void *)dn_hopper_multiply<T, S>,
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, (int)S::BYTES));
    DN_FOLLOW_CLUSTERS((dn_hopper_multiply<T, S>), grid, S::THREADS, S::BYTES, cluster, *conv,
                       tensors);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* The list of a type: half_hopper_fp16.cu and half_hopper_bf16.cu make one each. Rows, columns,
 * channels of a slab, stages: as many as let two blocks share a processor, or for "deep" and the
 * largest tiles one have it alone. */
#define DN_HOPPER(T, name, rows, columns, slab, stages)                                            \
    {name,                                                                                         \
     rows,                                                                                         \
     columns,                                                                                      \
     dn_hopper_shape<rows, columns, slab, stages>::WARPS,                                          \
     dn_hopper_shape<rows, columns, slab, stages>::BYTES,                                          \
     dn_hopper_launch<T, dn_hopper_shape<rows, columns, slab, stages>>,                            \
     slab,                                                                                         \
     true}

#define DN_HOPPER_TILES(T, type)                                                                   \
    static const dn_half_tile tiles_##type[] = {                                                   \
        DN_HOPPER(T, "w64x32", 64, 32, 64, 8),                                                     \
        DN_HOPPER(T, "w64x64", 64, 64, 64, 6),                                                     \
        DN_HOPPER(T, "w64x128", 64, 128, 64, 4),                                                   \
        DN_HOPPER(T, "w128x64", 128, 64, 64, 4),                                                   \
        DN_HOPPER(T, "w128x128", 128, 128, 64, 3),                                                 \
        DN_HOPPER(T, "w128x128 deep", 128, 128, 64, 6),                                            \
        DN_HOPPER(T, "w128x256", 128, 256, 64, 4),                                                 \
        DN_HOPPER(T, "w192x64", 192, 64, 64, 6),                                                   \
        DN_HOPPER(T, "w192x128", 192, 128, 64, 5),                                                 \
        DN_HOPPER(T, "w128x32 of 32", 128, 32, 32, 9),                                             \
        DN_HOPPER(T, "w128x64 of 32", 128, 64, 32, 9),                                             \
    };                                                                                             \
    const dn_half_tiles dn_half_hopper_##type = {sizeof tiles_##type / sizeof *tiles_##type,       \
                                                 tiles_##type};

#endif
