/* Who asks the tensor copy engine for the slabs of a tile of half_hopper.h: the tile's shape, its
 * place in the cluster, and one thread that walks along the sum. Source of the engine's calls:
 * bulk.h. */
#ifndef DN_CUDA_HALF_HOPPER_SLABS_H
#define DN_CUDA_HALF_HOPPER_SLABS_H

#include "half_hopper_end.h"

#include <bulk.h>

template <int ROWS_, int COLUMNS_, int SLAB_, int STAGES_> struct dn_hopper_shape {
    static const int ROWS = ROWS_, COLUMNS = COLUMNS_, STAGES = STAGES_;
    static const int SLAB = SLAB_;               /* channels */
    static const int WARPS = ROWS / DN_FRAGMENT; /* that multiply */
    static const int THREADS = (WARPS + 1) * DN_WARP;
    static const int STAGE = (ROWS + COLUMNS) * SLAB; /* values */
    static const int SUMS = DN_FRAGMENT * COLUMNS / DN_WARP;
    static const int PIECE = DN_FRAGMENT * DN_END_COLUMNS / DN_WARP; /* sums of a thread */
    static const size_t PARTS = (size_t)ROWS * COLUMNS * sizeof(float);
    static const size_t BARRIERS = 2 * STAGES * sizeof(dn_barrier); /* behind the stages */
    static const size_t BYTES = (size_t)STAGES * STAGE * 2 + BARRIERS + DN_ALIGNED;
    static const int BLOCKS = (int)((227 << 10) / (BYTES + 1024)); /* that fit a processor */

    static_assert(ROWS % 64 == 0 && STAGE * 2 % DN_ALIGNED == 0, "stages stay aligned");
    static_assert(COLUMNS % DN_END_COLUMNS == 0, "pieces of the end");
    static_assert(WARPS * dn_end_shape<COLUMNS>::BYTES <= (size_t)STAGES * STAGE * 2,
                  "sums of a tile");
    static_assert(PARTS + WARPS * dn_end_shape<DN_END_COLUMNS>::BYTES <= (size_t)STAGES * STAGE * 2,
                  "a part of the sums and what ends it");
};

/* What a kernel of these is told besides the call: its tensors. */
typedef struct dn_hopper_tensors {
    dn_bulk_tensor pixels, filters;
} dn_hopper_tensors;

typedef struct dn_hopper_barriers {
    dn_barrier *full, *empty;
} dn_hopper_barriers;

/* Slabs of a tap. */
template <class S> static __device__ inline int32_t dn_hopper_of_tap(const dn_half_conv *p)
{
    return (p->c + S::SLAB - 1) / S::SLAB;
}

template <class S> static __device__ inline dn_hopper_tile dn_hopper_tile_of(const dn_half_conv *p)
{
    const int32_t across = (p->filters + S::COLUMNS - 1) / S::COLUMNS;
    const int32_t slabs = p->size * p->size * dn_hopper_of_tap<S>(p);
    const int32_t share = (slabs + (int32_t)gridDim.z - 1) / (int32_t)gridDim.z;
    dn_hopper_tile tile;
    tile.group = (int32_t)blockIdx.y / across;
    tile.column = ((int32_t)blockIdx.y - tile.group * across) * S::COLUMNS;
    tile.row = (int64_t)blockIdx.x * S::ROWS;
    tile.begin = (int32_t)blockIdx.z * share;
    tile.end = tile.begin + share < slabs ? tile.begin + share : slabs;
    return tile;
}

/* The blocks that share this one's rows, a bit each; and its columns. */
static __device__ inline uint16_t dn_hopper_of_rows()
{
    const dim3 place = dn_cluster_place(), size = dn_cluster_size();
    uint32_t blocks = 0;
    for (uint32_t j = 0; j < size.y; j++) blocks = blocks << size.x | 1;
    return (uint16_t)(blocks << (place.z * size.y * size.x + place.x));
}

static __device__ inline uint16_t dn_hopper_of_columns()
{
    const dim3 place = dn_cluster_place(), size = dn_cluster_size();
    return (uint16_t)(((1u << size.x) - 1) << (place.z * size.y + place.y) * size.x);
}

/* ---- Who asks for slabs ---- */

/* What one thread needs to ask for the slabs of its block, and of its part of those that it shares:
 * everything but the slab itself. */
template <class S> struct dn_hopper_producer {
    const dn_half_conv *p;
    const dn_hopper_tensors *tensors;
    int32_t tap_x, tap_y, of_tap, slab_of_tap; /* of the next slab */
    int32_t x, y, image, channel, filter;      /* of the part of the first tap's box */
    int32_t row_part, column_part;             /* where it goes, in values */
    uint16_t row_blocks, column_blocks;        /* who gets it */

    __device__ dn_hopper_producer(const dn_half_conv *conv, const dn_hopper_tensors *tensors_,
                                  const dn_hopper_tile *tile)
        : p(conv), tensors(tensors_)
    {
        const dim3 place = dn_cluster_place(), size = dn_cluster_size();
        row_part = (int32_t)place.y * (S::ROWS / (int32_t)size.y);
        column_part = (int32_t)place.x * (S::COLUMNS / (int32_t)size.x);
        row_blocks = dn_hopper_of_rows();
        column_blocks = dn_hopper_of_columns();
        set_pixel(tile->row + row_part);
        channel = tile->group * p->c;
        filter = tile->group * p->filters + tile->column + column_part;
        of_tap = dn_hopper_of_tap<S>(p);
        const int32_t tap = tile->begin / of_tap;
        slab_of_tap = tile->begin - tap * of_tap;
        tap_y = tap / p->size;
        tap_x = tap - tap_y * p->size;
        row_part *= S::SLAB;
        column_part = (column_part + S::ROWS) * S::SLAB;
    }

    /* Beyond the last pixel it is in an image that there is not. */
    __device__ void set_pixel(int64_t pixel)
    {
        const int32_t plane = p->out_h * p->out_w;
        const int32_t at = pixel < (int64_t)p->images * plane ? (int32_t)pixel : p->images * plane;
        image = at / plane;
        y = (at - image * plane) / p->out_w;
        x = at - image * plane - y * p->out_w;
        y = y * p->stride_y - p->pad;
        x = x * p->stride_x - p->pad;
    }

    template <class T> __device__ void rows(T *stage, dn_barrier *full) const
    {
        const int32_t at[4] = {channel + slab_of_tap * S::SLAB, x, y, image};
        dn_copy_pixels(&tensors->pixels, stage + row_part, full, at,
                       (uint16_t)(tap_x * p->dilation), (uint16_t)(tap_y * p->dilation),
                       row_blocks);
    }

    template <class T> __device__ void columns(T *stage, dn_barrier *full) const
    {
        const int32_t at[3] = {slab_of_tap * S::SLAB, tap_y * p->size + tap_x, filter};
        dn_copy_filters(&tensors->filters, stage + column_part, full, at, column_blocks);
    }

    __device__ void advance()
    {
        if (++slab_of_tap < of_tap) return;
        slab_of_tap = 0;
        if (++tap_x < p->size) return;
        tap_x = 0;
        tap_y++;
    }
};

/* All slabs of the block: weights of the first stages before their pixels, which others may still
 * be making. */
template <class T, class S>
static __device__ inline void
dn_hopper_produce(const dn_half_conv *p, const dn_hopper_tensors *tensors,
                  const dn_hopper_tile *tile, T *stages, dn_hopper_barriers barriers)
{
    const int32_t count = tile->end - tile->begin;
    dn_hopper_producer<S> weights(p, tensors, tile), producer = weights;
    for (int32_t s = 0; s < S::STAGES && s < count; s++, weights.advance()) {
        dn_barrier_expect(&barriers.full[s], S::STAGE * 2);
        weights.columns(stages + s * S::STAGE, &barriers.full[s]);
    }
    dn_await_and_release();
    uint32_t stage = 0, parity = 1;
    for (int32_t slab = 0; slab < count; slab++, producer.advance()) {
        dn_barrier *full = &barriers.full[stage];
        if (slab >= S::STAGES) {
            dn_barrier_wait(&barriers.empty[stage], parity);
            dn_barrier_expect(full, S::STAGE * 2);
            producer.columns(stages + stage * S::STAGE, full);
        }
        producer.rows(stages + stage * S::STAGE, full);
        if (++stage < S::STAGES) continue;
        stage = 0;
        parity ^= 1;
    }
}

#endif
