/* The matrix product of Winograd's forms: tiles x channels times channels x DN_PANEL filters.
 *
 * The tiles are shared evenly among register tiles of at most DN_ROWS. While the product runs, the
 * weights that the next call reads are fetched into the second cache, spread over the register
 * tiles: half of their lines a register tile, or all of them over two or more.
 */
#include "blocked/winograd.h"

enum { FETCHES = DN_PANEL * 4 * DN_CHANNEL_STEP / 128 }; /* a channel step; half its weights */

typedef struct fetch {
    const char *next;
    int64_t step;
} fetch;

/* product (+)= V * U for `rows` tiles. */
DN_INLINE void register_tile(const dn_winograd_product *args, const float *v, float *product,
                             fetch ahead, const int rows)
{
    if (rows > DN_ROWS) return;
    const float *u = args->u;
    dn_vec sum[DN_ROWS][DN_PANEL_VECTORS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
        for (int i = 0; i < DN_PANEL_VECTORS; ++i)
            sum[r][i] = args->adds
                            ? dn_vec_load(product + r * args->tile_stride_product + i * DN_LANES)
                            : dn_vec_set(0.0f);
    }
    for (int32_t rest = args->channels; rest > 0; rest -= DN_LANES, v += rows * DN_LANES) {
        const int32_t live = rest < DN_LANES ? rest : DN_LANES;
        for (int32_t lane = 0; lane < live; lane += DN_CHANNEL_STEP) {
#pragma GCC unroll 4
            for (int i = 0; i < FETCHES; ++i, ahead.next += ahead.step)
                __builtin_prefetch(ahead.next, 0, 2);
#pragma GCC unroll 4
            for (int c = 0; c < DN_CHANNEL_STEP; ++c, u += DN_PANEL) {
                dn_vec weights[DN_PANEL_VECTORS];
#pragma GCC unroll 4
                for (int i = 0; i < DN_PANEL_VECTORS; ++i)
                    weights[i] = dn_vec_load(u + i * DN_LANES);
#pragma GCC unroll 16
                for (int r = 0; r < rows; ++r) {
                    const dn_vec value = dn_vec_set(v[r * DN_LANES + lane + c]);
#pragma GCC unroll 4
                    for (int i = 0; i < DN_PANEL_VECTORS; ++i)
                        dn_fma_into(&sum[r][i], value, weights[i]);
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
        for (int i = 0; i < DN_PANEL_VECTORS; ++i)
            dn_vec_store(product + r * args->tile_stride_product + i * DN_LANES, sum[r][i]);
    }
}

#define CASE(rows)                                                                                 \
    case rows:                                                                                     \
        register_tile(args, v + rows * args->first_channel, product, ahead, rows);                 \
        break;

void DN_ISA_NAME(dn_winograd_multiply)(const dn_winograd_product *args)
{
    const int32_t count = (args->tiles + DN_ROWS - 1) / DN_ROWS;
    const float *v = args->v; /* of the register tile */
    float *product = args->product;
    fetch ahead = {(const char *)args->next, 128 / count};
    for (int32_t i = 0; i < count; ++i) {
        const int32_t rows = dn_share(args->tiles, count, i);
        switch (rows) {
            CASE(1)
            CASE(2)
            CASE(3)
            CASE(4)
            CASE(5)
            CASE(6)
            CASE(7)
            CASE(8)
            CASE(9)
            CASE(10)
            CASE(11)
            CASE(12)
        }
        v += rows * args->tile_stride_v;
        product += rows * args->tile_stride_product;
        ahead.next += args->channels / DN_CHANNEL_STEP * FETCHES * ahead.step;
    }
}
