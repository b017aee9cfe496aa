/* Channels of one blocked tensor to other channels of another: what a [route] cannot get written in
 * place. Whole blocks are copied as they are. A block whose channels lie in two blocks of the other
 * tensor is put together of both, pixel by pixel, by loads that begin between pixels. The copy that
 * brings a tensor's last channels makes the surplus lanes behind them 0. */
#include "blocked/epilogue.h"
#include "blocked/row_kernels.h"
#include "blocked/vector.h"

/* Where a block's lanes come from: lane l of a pixel is lane l + offset of the same pixel of the
 * lower block, or lane l + offset - DN_LANES of the upper one; or it stays, or becomes 0. */
typedef struct lane_map {
    const float *lower, *upper; /* either may be NULL where no lane is its */
    int32_t offset;
    uint32_t from_lower[DN_LANES], from_upper[DN_LANES], stays[DN_LANES]; /* all bits: yes */
} lane_map;

DN_INLINE dn_vec_bits bits_of(const void *from)
{
    dn_vec_bits bits;
    memcpy(&bits, from, sizeof bits);
    return bits;
}

/* A pixel whose neighbours may not be read. */
static void copy_pixel(const lane_map *map, int64_t at, float *to)
{
    for (int32_t l = 0; l < DN_LANES; ++l) {
        if (map->from_lower[l])
            to[at + l] = map->lower[at + l + map->offset];
        else if (map->from_upper[l])
            to[at + l] = map->upper[at + l + map->offset - DN_LANES];
        else if (!map->stays[l])
            to[at + l] = 0.0f;
    }
}

static void copy_pixels(const lane_map *map, int32_t pixels, float *to)
{
    const dn_vec_bits from_lower = bits_of(map->from_lower), stays = bits_of(map->stays);
    const dn_vec_bits from_upper = bits_of(map->from_upper);
    const float *lower = (map->lower ? map->lower : map->upper) + map->offset;
    const float *upper = (map->upper ? map->upper : map->lower) + map->offset - DN_LANES;
    const int64_t end = (int64_t)(pixels - 1) * DN_LANES;
    copy_pixel(map, 0, to);
    for (int64_t i = DN_LANES; i < end; i += DN_LANES) {
        const dn_vec_bits a = bits_of(lower + i) & from_lower;
        const dn_vec_bits b = bits_of(upper + i) & from_upper;
        const dn_vec_bits c = bits_of(to + i) & stays;
        dn_vec_store(to + i, (dn_vec)(a | b | c));
    }
    if (pixels > 1) copy_pixel(map, end, to);
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
    lane_map map = {.offset = ((begin + shift) % DN_LANES + DN_LANES) % DN_LANES};
    const int32_t lower = (begin + shift - map.offset) / DN_LANES;
    for (int32_t l = 0; l < DN_LANES; ++l) {
        const int32_t c = begin + l;
        const bool copied = copy.to <= c && c < end, is_lower = l + map.offset < DN_LANES;
        if (copied && is_lower && !map.lower)
            map.lower = dn_block_row(in, rows.image, lower, rows.first, DN_LANES);
        if (copied && !is_lower && !map.upper)
            map.upper = dn_block_row(in, rows.image, lower + 1, rows.first, DN_LANES);
        map.from_lower[l] = copied && is_lower ? UINT32_MAX : 0;
        map.from_upper[l] = copied && !is_lower ? UINT32_MAX : 0;
        map.stays[l] = !copied && c < out->c ? UINT32_MAX : 0;
    }
    copy_pixels(&map, pixels, to);
}
