/* What of a mask lies in a rectangle of its pixels. See rle.h. */
#include "data/rle.h"

/* Where the pixels found so far lie. */
typedef struct dn_extent {
    int32_t left, top, right, bottom;
    int64_t area;
} dn_extent;

static int32_t at_least(int32_t value, int32_t limit)
{
    return value > limit ? value : limit;
}

static int32_t at_most(int32_t value, int32_t limit)
{
    return value < limit ? value : limit;
}

/* Adds rows top..bottom-1 of column x. */
static void add(dn_extent *extent, int32_t x, int32_t top, int32_t bottom)
{
    if (top >= bottom) return;
    const bool first = extent->area == 0;
    if (first) extent->left = x; /* columns ascend */
    extent->right = x + 1;
    extent->top = first ? top : at_most(top, extent->top);
    extent->bottom = at_least(bottom, extent->bottom);
    extent->area += bottom - top;
}

int64_t dn_rle_window(const dn_rle *rle, const int32_t window[4], int32_t box[4])
{
    const uint32_t height = (uint32_t)rle->height;
    const int32_t right = window[0] + window[2], bottom = window[1] + window[3];
    dn_extent extent = {0};
    uint32_t position = 0;
    for (int64_t i = 0; i < rle->run_count; position += rle->runs[i++]) {
        if (i % 2 == 0 || rle->runs[i] == 0) continue;
        const uint32_t last = position + rle->runs[i] - 1;
        const int32_t first_x = (int32_t)(position / height), last_x = (int32_t)(last / height);
        for (int32_t x = at_least(first_x, window[0]); x <= last_x && x < right; x++) {
            const int32_t from = x == first_x ? (int32_t)(position % height) : 0;
            const int32_t to = x == last_x ? (int32_t)(last % height) + 1 : rle->height;
            add(&extent, x, at_least(from, window[1]), at_most(to, bottom));
        }
    }
    box[0] = extent.left;
    box[1] = extent.top;
    box[2] = extent.right - extent.left;
    box[3] = extent.bottom - extent.top;
    return extent.area;
}
