/* What the forms of a convolution in half precision cost by estimate: see half_rules.h. */
#include "half_rules.h"

#include <stdlib.h>

typedef struct dn_gpu {
    int processors, shared; /* shared: bytes of a block; of a processor 1 KB more */
    bool hopper;
} dn_gpu;

static dn_status look_at_gpu(dn_gpu *gpu)
{
    int device = 0, major = 0, minor = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    DN_CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    DN_CUDA_TRY(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    gpu->hopper = major == 9 && minor == 0;
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

/* Those of a tile by warpgroups, whose slabs the copy engine brings: a processor does 1700 products
 * a cycle, and all together copy no more than 36 bytes each; as many blocks as fit its shared
 * memory run at once, and what does not overlap, a block's begin and end, takes 3000. Nothing of a
 * slab but its own time is in the way of the next; blocks that share rows or columns copy a part of
 * them. A cluster lies in one of the GPU's parts of 16 to 18 processors: of large clusters some
 * processors stay empty. Fitted to 60 shapes on an H200: of what is measured the best is within 1 %
 * of the best of all. */
static double hopper_cost_of(const dn_half_tile *tile, dn_half_form form, int64_t blocks,
                             int64_t share, const dn_gpu *gpu)
{
    const double products = (double)tile->rows * tile->columns;
    const double bytes =
        2.0 * tile->slab * ((double)tile->rows / form.across + (double)tile->columns / form.down);
    const int64_t fit = gpu->shared / ((int64_t)tile->shared + 1024);
    const int64_t places = gpu->processors * (fit > 1 ? fit : 1);
    const int32_t cluster = form.across * form.down * form.splits;
    const int64_t rounds = divided_up(blocks, cluster > 4 ? places * 7 / 8 : places);
    const int64_t of_each = divided_up(blocks, gpu->processors);
    const double own = products * tile->slab / 1700.0 + 60.0;
    const double together = bytes / 36.0 * (double)blocks / gpu->processors;
    const double alone = own * (double)of_each;
    const double busy = (double)share * (together > alone ? together : alone);
    const double ends = 3000.0 * (double)rounds + products / 16.0 * (double)of_each;
    const double joins = form.splits > 1 ? 1500.0 + products / 32.0 : 0.0;
    return busy + ends + joins;
}

/* What a form of several parts needs besides. */
static bool splits_fit(const dn_half_tile *tile, int64_t tiles, int64_t slabs, int64_t splits,
                       const dn_gpu *gpu)
{
    const int64_t share = divided_up(slabs, splits);
    const int64_t bytes = tiles * splits * tile->rows * tile->columns * (int64_t)sizeof(float);
    if (share * (splits - 1) >= slabs || tiles * splits > 4 * gpu->processors) return false;
    if (tile->hopper) return share >= 2 && splits <= DN_MOST_PARTS;
    return share >= 4 && bytes <= DN_HALF_WORKSPACE && tiles <= DN_HALF_COUNTERS;
}

/* What the copy engine takes (bulk.h), and whole tiles that share. */
static bool hopper_fits(const dn_half_conv *conv, const dn_half_tile *tile, dn_half_form form)
{
    const int32_t reach = (conv->size - 1) * conv->dilation, both = 2 * conv->pad - reach;
    const int64_t tiles = divided_up(conv->filters, tile->columns);
    if (conv->in_pixel % 8 != 0 || (conv->groups > 1 && conv->c % tile->slab != 0)) return false;
    if (conv->stride_x > 8 || conv->stride_y > 8 || reach > 255 || conv->pad > 127 ||
        reach - conv->pad > 128)
        return false;
    if (conv->out_w != (conv->w + both - 1) / conv->stride_x + 1 ||
        conv->out_h != (conv->h + both - 1) / conv->stride_y + 1)
        return false;
    return tiles % form.across == 0 && form.across * form.down * form.splits <= DN_MOST_PARTS;
}

static int64_t slabs_of(const dn_half_conv *conv, const dn_half_tile *tile)
{
    if (tile->hopper) return conv->size * conv->size * divided_up(conv->c, tile->slab);
    return divided_up(conv->k, tile->slab);
}

/* The form's cost; false where it cannot run here. */
static bool weigh(const dn_half_conv *conv, dn_half_form form, const dn_gpu *gpu,
                  dn_half_candidate *candidate)
{
    const dn_half_tile *tile = dn_half_tile_of(conv, form.tile);
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int64_t across = divided_up(conv->filters, tile->columns) * conv->groups;
    const int64_t tiles = divided_up(pixels, tile->rows) * across;
    const int64_t slabs = slabs_of(conv, tile), share = divided_up(slabs, form.splits);
    const int64_t blocks = tiles * form.splits;
    if (tile->shared > (size_t)gpu->shared || across > 65535) return false;
    if (tile->hopper && !gpu->hopper) return false;
    if (tile->hopper ? !hopper_fits(conv, tile, form) : form.across * form.down > 1) return false;
    if (form.splits > 1 && !splits_fit(tile, tiles, slabs, form.splits, gpu)) return false;
    candidate->form = form;
    candidate->hopper = tile->hopper;
    candidate->cost = tile->hopper ? hopper_cost_of(tile, form, blocks, share, gpu)
                                   : cost_of(tile, blocks, share, form.splits, gpu);
    return true;
}

static int by_cost(const void *a, const void *b)
{
    const dn_half_candidate *left = (const dn_half_candidate *)a;
    const dn_half_candidate *right = (const dn_half_candidate *)b;
    return (left->cost > right->cost) - (left->cost < right->cost);
}

/* The fourth, the eighth ... of those that are measured are of the other family than the cheapest,
 * if there are so many: the best of both are measured. `list` is sorted. */
static void mix(dn_half_candidate list[DN_HALF_FORMS], int32_t count)
{
    for (int32_t i = 3; i < count && i < DN_MEASURED_FORMS; i += 4) {
        int32_t next = i;
        while (next < count && list[next].hopper == list[0].hopper) next++;
        if (next == count) return;
        const dn_half_candidate moved = list[next];
        for (; next > i; next--) list[next] = list[next - 1];
        list[i] = moved;
    }
}

dn_status dn_half_list_forms(const dn_half_conv *conv, dn_half_candidate list[DN_HALF_FORMS],
                             int32_t *count)
{
    static const int32_t splits[] = {1, 2, 3, 4, 6, 8, 12, 16};
    static const int32_t shares[][2] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}};
    dn_gpu gpu;
    DN_TRY(look_at_gpu(&gpu));
    *count = 0;
    for (int32_t t = 0; dn_half_tile_of(conv, t); t++)
        for (const int32_t split : splits)
            for (const int32_t *share : shares)
                if (*count < DN_HALF_FORMS &&
                    weigh(conv, {t, split, share[0], share[1]}, &gpu, &list[*count]))
                    ++*count;
    qsort(list, (size_t)*count, sizeof *list, by_cost);
    mix(list, *count);
    return DN_OK;
}
