/* Channels of one blocked tensor to other channels of another: what a [route] cannot get written in
 * place. Whole blocks are copied as they are; others lane by lane. The copy that brings a tensor's
 * last channels makes the surplus lanes behind them 0. */
#include "blocked/row_kernels.h"
#include "blocked/vector.h"

/* Lane `lane` of every pixel. */
static void copy_lane(const float *from, int32_t pixels, float *to)
{
    for (int32_t i = 0; i < pixels; i++) to[(int64_t)i * DN_LANES] = from[(int64_t)i * DN_LANES];
}

static void clear_lane(int32_t pixels, float *to)
{
    for (int32_t i = 0; i < pixels; i++) to[(int64_t)i * DN_LANES] = 0.0f;
}

void DN_ISA_NAME(dn_rows_copy)(dn_channel_copy copy, const dn_blocked *in, const dn_blocked *out,
                               dn_rows rows)
{
    const int32_t pixels = (rows.last - rows.first) * out->w;
    const int32_t begin = rows.block * DN_LANES; /* the block's first channel */
    float *to = dn_block_row(out, rows.image, rows.block, rows.first, DN_LANES);
    const int32_t shift = copy.from - copy.to, end = copy.to + copy.count;
    const bool whole = copy.to <= begin && begin + DN_LANES <= end;
    if (whole && shift % DN_LANES == 0) {
        const float *from =
            dn_block_row(in, rows.image, (begin + shift) / DN_LANES, rows.first, DN_LANES);
        memcpy(to, from, (size_t)pixels * DN_LANES * sizeof *to);
        return;
    }
    for (int32_t lane = 0; lane < DN_LANES; lane++) {
        const int32_t c = begin + lane, source = c + shift;
        if (c >= out->c) {
            clear_lane(pixels, to + lane);
        } else if (copy.to <= c && c < end) {
            const float *from =
                dn_block_row(in, rows.image, source / DN_LANES, rows.first, DN_LANES);
            copy_lane(from + source % DN_LANES, pixels, to + lane);
        }
    }
}
