/* Mask targets: what a mask branch should answer for a RoI.
 *
 * The RoI is cut into size x size cells. A cell's target is the exact share of its area that the
 * mask covers, pixels being unit squares of the original image; outside the image there is no
 * mask. The RoI is given in network pixels and may be mirrored, scaled and cut by augmentation: the
 * map from network to image pixels carries all of that, so a mask is never resampled. Where only a
 * part of the network's input shows the image (a tile of a mosaic), cells are cut at its border.
 *
 * Soft targets keep the share, binary ones are 1 from one half on. Soft ones raise the ceiling of
 * what a perfect branch could score on coco125 from 97.8 to 99.8 (tests/test_mask_geometry.py),
 * because the paste interpolates between cells and finds the outline again.
 *
 * Method: walk the image columns that the RoI touches once, from left to right, with a cursor into
 * the runs; lay each column's runs on the cell rows; add the column to the cell columns it
 * overlaps. No image-sized memory. Cost: runs left of and in the RoI + its columns * size.
 */
#include "data/geometry.h"
#include "data/rle.h"

#include <math.h>
#include <string.h>

/* One axis of the cells, in image pixels. */
typedef struct dn_cells {
    double border[DN_MASK_SIDE_MAX + 1]; /* (size + 1), ascending, cut to what is visible */
    double length;                       /* of a whole cell */
    bool mirrored;                       /* the RoI's first cell is the last here */
} dn_cells;

/* A stretch of one axis, in image pixels: ascending unless the map mirrors. */
typedef struct dn_stretch {
    double from, to;
} dn_stretch;

static dn_stretch dn_mapped(float from, float to, float scale, float offset)
{
    return (dn_stretch){(double)scale * (double)from + (double)offset,
                        (double)scale * (double)to + (double)offset};
}

static dn_cells dn_cells_make(dn_stretch roi, dn_stretch visible, int32_t size)
{
    dn_cells cells;
    cells.mirrored = roi.to < roi.from;
    const double low = fmin(roi.from, roi.to), high = fmax(roi.from, roi.to);
    const double first = fmin(visible.from, visible.to), last = fmax(visible.from, visible.to);
    cells.length = (high - low) / (double)size;
    for (int32_t i = 0; i <= size; i++) {
        const double border = low + (high - low) * ((double)i / (double)size);
        cells.border[i] = fmin(fmax(border, first), last);
    }
    return cells;
}

/* A cursor over the runs of ones. */
typedef struct dn_ones {
    const dn_rle *mask;
    int64_t run;         /* odd index */
    uint32_t begin, end; /* its pixels, column-major */
} dn_ones;

static dn_ones dn_ones_first(const dn_rle *mask)
{
    dn_ones ones = {.mask = mask, .run = 1, .begin = UINT32_MAX, .end = UINT32_MAX};
    if (mask->run_count > 1) {
        ones.begin = mask->runs[0];
        ones.end = ones.begin + mask->runs[1];
    }
    return ones;
}

/* Behind the last run: begin = end = UINT32_MAX, past every column. */
static void dn_ones_next(dn_ones *ones)
{
    ones->run += 2;
    if (ones->run < ones->mask->run_count) {
        ones->begin = ones->end + ones->mask->runs[ones->run - 1];
        ones->end = ones->begin + ones->mask->runs[ones->run];
    } else {
        ones->begin = ones->end = UINT32_MAX;
    }
}

/* cover[j] = rows of image column x that are set within cell row j; false if there are none. */
static bool dn_cover_column(double *cover, dn_ones *ones, int32_t x, const dn_cells *rows,
                            int32_t size)
{
    const uint32_t height = (uint32_t)ones->mask->height;
    const uint32_t top = (uint32_t)x * height, bottom = top + height;
    while (ones->end <= top && ones->begin < UINT32_MAX) dn_ones_next(ones);
    if (ones->begin >= bottom) return false;

    memset(cover, 0, (size_t)size * sizeof *cover);
    int32_t cell = 0;
    for (;;) {
        const double begin = ones->begin > top ? (double)(ones->begin - top) : 0.0;
        const double end = (double)((ones->end < bottom ? ones->end : bottom) - top);
        while (cell < size && rows->border[cell + 1] <= begin) cell++;
        for (int32_t j = cell; j < size && rows->border[j] < end; j++)
            cover[j] += fmin(end, rows->border[j + 1]) - fmax(begin, rows->border[j]);
        /* A run that goes on in the next column is still wanted there. */
        if (ones->end >= bottom) return true;
        dn_ones_next(ones);
        if (ones->begin >= bottom) return true;
    }
}

/* The first image column of a cell, and the one behind its last. */
static int32_t dn_clamped(double x, int32_t width)
{
    return (int32_t)fmin(fmax(x, 0.0), (double)width);
}

static void dn_fill(const dn_rle *mask, const dn_cells *columns, const dn_cells *rows, int32_t size,
                    float *out /* (size, size) */)
{
    const double area = columns->length * rows->length;
    dn_ones ones = dn_ones_first(mask);
    double cover[DN_MASK_SIDE_MAX];
    bool covered = false;
    int32_t covered_x = -1; /* the column that `cover` holds */
    for (int32_t i = 0; i < size; i++) {
        double sum[DN_MASK_SIDE_MAX] = {0};
        const double left = columns->border[i], right = columns->border[i + 1];
        const int32_t end = dn_clamped(ceil(right), mask->width);
        for (int32_t x = dn_clamped(floor(left), mask->width); x < end; x++) {
            if (x != covered_x) covered = dn_cover_column(cover, &ones, x, rows, size);
            covered_x = x;
            if (!covered) continue;
            const double overlap = fmin(right, x + 1.0) - fmax(left, x);
            for (int32_t j = 0; j < size; j++) sum[j] += overlap * cover[j];
        }
        const int32_t column = columns->mirrored ? size - 1 - i : i;
        for (int32_t j = 0; j < size; j++) {
            const int32_t row = rows->mirrored ? size - 1 - j : j;
            out[row * size + column] = (float)(sum[j] / area);
        }
    }
}

dn_status dn_mask_target(const dn_rle *mask, const dn_affine *net_to_image, dn_box visible,
                         dn_box roi, int32_t size, bool soft, float *out)
{
    if (size < 1 || size > DN_MASK_SIDE_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "mask target: size %d is out of range 1..%d", (int)size,
                       DN_MASK_SIDE_MAX);
    const dn_affine *map = net_to_image;
    const dn_stretch x = dn_mapped(roi.x0, roi.x1, map->scale_x, map->offset_x);
    const dn_stretch y = dn_mapped(roi.y0, roi.y1, map->scale_y, map->offset_y);
    if (!(isfinite(x.from) && isfinite(x.to) && isfinite(y.from) && isfinite(y.to)))
        return dn_fail(DN_ERROR_ARGUMENT,
                       "mask target: RoI (%g, %g, %g, %g) and its map must be finite",
                       (double)roi.x0, (double)roi.y0, (double)roi.x1, (double)roi.y1);

    memset(out, 0, (size_t)size * (size_t)size * sizeof *out);
    if (dn_box_is_empty(roi) || x.from == x.to || y.from == y.to) return DN_OK;
    if (dn_box_is_empty(visible)) visible = roi;
    const dn_stretch seen_x = dn_mapped(visible.x0, visible.x1, map->scale_x, map->offset_x);
    const dn_stretch seen_y = dn_mapped(visible.y0, visible.y1, map->scale_y, map->offset_y);
    const dn_cells columns = dn_cells_make(x, seen_x, size), rows = dn_cells_make(y, seen_y, size);
    dn_fill(mask, &columns, &rows, size, out);
    if (!soft)
        for (int32_t i = 0; i < size * size; i++) out[i] = out[i] >= 0.5f ? 1.0f : 0.0f;
    return DN_OK;
}
