/* Masks on the device: answers of the branch, pasted into images (paste.cu) and written as COCO's
 * strings (paste_runs.cu, paste_text.cu), the same bits as data/mask_paste.c and data/mask_encode.c
 * give. */
#ifndef DN_CUDA_PASTE_H
#define DN_CUDA_PASTE_H

#include "core/mask_device.h"
#include "math/mask_paste.h"
#include "staging.h"

/* A mask as kernels need it. */
typedef struct dn_paste_item {
    const float *values; /* where the branch has the answer, (side, side); NULL: nowhere */
    bool logits;         /* instead of probabilities */
    dn_paste_axis across, down;
    int32_t height, width; /* of the image */
    int32_t first, last;   /* image columns first..last-1 lie among the cells */
    int32_t columns;       /* from `first` on that may begin with another value: to `last`,
                              where the image goes on, or none */
    int64_t start;         /* of these among the columns of all masks */
} dn_paste_item;

/* Device memory that grows; its contents are lost then. */
typedef struct dn_room {
    char *block;
    size_t bytes;
} dn_room;

dn_status dn_room_reserve(dn_room *room, size_t bytes);

struct dn_paster {
    int32_t count, side;
    int64_t columns;  /* of all masks */
    dn_staging items; /* (count), dn_paste_item */
    dn_room kept;     /* masks */
    dn_room scratch;  /* of encode */
    dn_staging found; /* what encode brings */
    int64_t turn_room, text_room;
    float threshold;     /* of the strings that were asked for */
    size_t brought;      /* bytes of them, and what lies before, that are on their way */
    int64_t longest;     /* characters of all strings so far, at most */
    cudaStream_t stream; /* on which strings are made, beside the next pass; made when needed */
    cudaEvent_t taken;   /* behind what they are made of */
};

/* DN_LAUNCH_BLOCKS on a stream. */
#ifndef DN_LAUNCH_BLOCKS_ON
#define DN_LAUNCH_BLOCKS_ON(stream, kernel, blocks, ...)                                           \
    kernel<<<dn_blocks((blocks) * DN_BLOCK), DN_BLOCK, 0, stream>>>(__VA_ARGS__)
#endif

/* Pointers lead to device memory. */
typedef struct dn_paste_view {
    const dn_paste_item *items; /* (count) */
    const float *masks;         /* (count, side, side) */
    int32_t count, side;
    double threshold;
} dn_paste_view;

dn_paste_view dn_paste_view_of(const dn_paster *paster, float threshold);

/* One pixel among the cells of an axis: between the centres of cells piece - 1 and piece. */
typedef struct dn_paste_spot {
    int32_t piece; /* -1: outside */
    double behind; /* the first of them */
} dn_paste_spot;

static inline __device__ dn_paste_spot dn_paste_spot_of(dn_paste_axis axis, int32_t pixel)
{
    const double cell = dn_paste_cell_at(axis, pixel);
    dn_paste_spot spot = {-1, 0.0};
    if (!(cell >= -1.0 && cell < axis.side)) return spot;
    spot.piece = (int32_t)floor(cell) + 1;
    spot.behind = cell - (spot.piece - 1);
    return spot;
}

/* Row `row` of the cells, -1 and side being outside, at an image column. */
static inline __device__ double dn_paste_cell(const float *mask, int32_t side, int32_t row,
                                              dn_paste_spot column)
{
    if (row < 0 || row >= side) return 0.0;
    const float *cells = mask + (int64_t)row * side;
    const double left = column.piece > 0 ? (double)cells[column.piece - 1] : 0.0;
    const double right = column.piece < side ? (double)cells[column.piece] : 0.0;
    return dn_paste_between(left, right, column.behind);
}

/* Whether a pixel of mask k is set. */
static inline __device__ bool dn_paste_pixel(const dn_paste_view &v, int64_t k, int32_t x,
                                             int32_t y)
{
    const dn_paste_item &item = v.items[k];
    if (x < item.first || x >= item.last) return false;
    const float *mask = v.masks + k * v.side * v.side;
    const dn_paste_spot column = dn_paste_spot_of(item.across, x);
    const dn_paste_spot row = dn_paste_spot_of(item.down, y);
    if (column.piece < 0 || row.piece < 0) return false;
    const double above = dn_paste_cell(mask, v.side, row.piece - 1, column);
    const double below = dn_paste_cell(mask, v.side, row.piece, column);
    return dn_paste_between(above, below, row.behind) >= v.threshold;
}

extern const dn_mask_device dn_cuda_mask_device;

/* Launches what writes means (count), in device memory. */
dn_status dn_paste_means(const dn_paste_view *view, float *means, cudaStream_t stream);

/* ---- Strings ---- */

/* How much there is of all masks. */
typedef struct dn_paste_totals {
    int64_t turns, text;
} dn_paste_totals;

/* Pointers lead to device memory. */
typedef struct dn_paste_work {
    dn_paste_view view;
    int32_t *begins;      /* (count, side + 2): the first row of each piece */
    uint32_t *columns;    /* (columns): a mask's turns before each of them */
    int64_t *turn_counts; /* (count): a mask's turns are turns[start] .. turns[start + count - 1] */
    int64_t *turn_starts; /* (count) */
    int64_t *text_counts; /* (count): characters, NUL included */
    uint32_t *turns;      /* (turn_room): pixels, column after column */
    dn_paste_totals *totals;
    char *text; /* (text_room) */
    int64_t turn_room, text_room;
} dn_paste_work;

/* Launches what writes turns, totals and text where there is room for them; else totals alone say
 * how much was needed. */
dn_status dn_paste_write_runs(const dn_paste_work *work, cudaStream_t stream);

/* The table's `encode` and `text`. */
dn_status dn_paste_encode(dn_paster *paster, float threshold);
dn_status dn_paste_text(dn_paster *paster, const char **text, size_t *length, const float **means);

#endif
