/* What the forms of a convolution in half precision cost by estimate: see half_rules.h. */
#include "half_rules.h"

#include <stdlib.h>

typedef struct dn_gpu {
    int processors, shared;
} dn_gpu;

static dn_status look_at_gpu(dn_gpu *gpu)
{
    int device = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    DN_CUDA_TRY(cudaDeviceGetAttribute(&gpu->processors, cudaDevAttrMultiProcessorCount, device));
    DN_CUDA_TRY(
        cudaDeviceGetAttribute(&gpu->shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return DN_OK;
}

static int64_t divided_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Clock cycles, roughly: a processor does 600 products a cycle with large tiles, fewer with small
 * ones, which read more of shared memory for each; a block alone waits some 300 for each slab; what
 * begins and ends a block, and what joins parts, is added. */
static double cost_of(const dn_half_tile *tile, int64_t blocks, int64_t share, int32_t splits,
                      const dn_gpu *gpu)
{
    const double products = (double)tile->rows * tile->columns;
    const double rate = 600.0 * products / (products + 4096.0);
    const double busy =
        (double)divided_up(blocks, gpu->processors) * (double)share * products * 32.0 / rate;
    const double waits = 300.0 * (double)share;
    const double joins = splits > 1 ? 1500.0 + products / 32.0 * splits : 0.0;
    return (busy > waits ? busy : waits) + 1500.0 + joins;
}

/* The form and its cost; false where it cannot run here. */
static bool weigh(const dn_half_conv *conv, int32_t t, int32_t splits, const dn_gpu *gpu,
                  dn_half_candidate *candidate)
{
    const dn_half_tile *tile = &dn_half_tiles_of(conv).tiles[t];
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int64_t across = divided_up(conv->filters, tile->columns) * conv->groups;
    const int64_t tiles = divided_up(pixels, tile->rows) * across;
    const int64_t slabs = divided_up(conv->k, 32), share = divided_up(slabs, splits);
    const int64_t bytes = tiles * splits * tile->rows * tile->columns * (int64_t)sizeof(float);
    if (tile->shared > (size_t)gpu->shared || across > 65535) return false;
    if (splits > 1 && (bytes > DN_HALF_WORKSPACE || tiles > DN_HALF_COUNTERS || share < 4 ||
                       share * (splits - 1) >= slabs || tiles * splits > 4 * gpu->processors))
        return false;
    candidate->form.tile = t;
    candidate->form.splits = splits;
    candidate->cost = cost_of(tile, tiles * splits, share, splits, gpu);
    return true;
}

static int by_cost(const void *a, const void *b)
{
    const dn_half_candidate *left = (const dn_half_candidate *)a;
    const dn_half_candidate *right = (const dn_half_candidate *)b;
    return (left->cost > right->cost) - (left->cost < right->cost);
}

dn_status dn_half_list_forms(const dn_half_conv *conv, dn_half_candidate list[DN_HALF_FORMS],
                             int32_t *count)
{
    static const int32_t splits[] = {1, 2, 3, 4, 6, 8, 12, 16};
    const int32_t tiles = dn_half_tiles_of(conv).count;
    dn_gpu gpu;
    DN_TRY(look_at_gpu(&gpu));
    *count = 0;
    for (int32_t t = 0; t < tiles; t++)
        for (const int32_t split : splits)
            if (*count < DN_HALF_FORMS && weigh(conv, t, split, &gpu, &list[*count])) ++*count;
    qsort(list, (size_t)*count, sizeof *list, by_cost);
    return DN_OK;
}
