/* Pasting: from the branch's M x M probabilities to pixels of the original image.
 *
 * Pixel (x, y) has its centre at x + 0.5 and so lies at u = (x + 0.5 - x0) / (x1 - x0) * M - 0.5
 * among the mask's cells, v alike. The probability there is bilinear between the four nearest cell
 * centres, cells outside the mask being 0, and the pixel is set where it reaches the threshold.
 * Nothing is rounded to whole pixels or resampled before that. The box is continuous and may leave
 * the image.
 *
 * Method: along an image column the probability is a chain of at most M + 1 straight pieces. The
 * first and the last pixel of a piece tell whether it crosses the threshold, and bisection finds
 * where; so the cost follows M and the outline, not the area, and the runs come out directly. The
 * arithmetic is double and monotone within a piece, so this equals testing every pixel.
 */
#include "data/geometry.h"
#include "data/rle.h"

#include <math.h>
#include <string.h>

/* Image pixels along one axis, cut where they pass a cell centre: piece p holds the pixels
 * begin[p] .. begin[p + 1] - 1, which lie between the centres of cells p - 1 and p. */
typedef struct dn_axis {
    double from, to;                     /* of the box, image pixels */
    int32_t side, pixels;                /* of the mask, of the image */
    int32_t begin[DN_MASK_SIDE_MAX + 2]; /* (side + 2) */
    double first[DN_MASK_SIDE_MAX + 1];  /* (side + 1): how far behind cell p - 1 a piece's */
    double last[DN_MASK_SIDE_MAX + 1];   /* first and last pixel lie, 0..1 */
} dn_axis;

/* u = (x + 0.5 - x0) / (x1 - x0) * M - 0.5 */
static inline double dn_cell_at(const dn_axis *axis, int32_t pixel)
{
    return (pixel + 0.5 - axis->from) / (axis->to - axis->from) * axis->side - 0.5;
}

static inline double dn_behind(const dn_axis *axis, int32_t piece, int32_t pixel)
{
    return dn_cell_at(axis, pixel) - (piece - 1);
}

/* The first pixel of low..pixels at or behind `cell`. */
static int32_t dn_first_pixel(const dn_axis *axis, int32_t low, double cell)
{
    int32_t high = axis->pixels;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (dn_cell_at(axis, middle) >= cell)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void dn_axis_make(dn_axis *axis, double from, double to, int32_t side, int32_t pixels)
{
    axis->from = from;
    axis->to = to;
    axis->side = side;
    axis->pixels = pixels;
    for (int32_t p = 0; p <= side + 1; p++)
        axis->begin[p] = dn_first_pixel(axis, p > 0 ? axis->begin[p - 1] : 0, p - 1);
    for (int32_t p = 0; p <= side; p++) {
        axis->first[p] = dn_behind(axis, p, axis->begin[p]);
        axis->last[p] = dn_behind(axis, p, axis->begin[p + 1] - 1);
    }
}

/* Where the pixels go: runs, or bytes (height, width). */
typedef struct dn_canvas {
    dn_rle_builder *runs;
    uint8_t *bytes;
    int32_t height, width;
} dn_canvas;

static dn_status dn_paint(const dn_canvas *canvas, int32_t x, int32_t begin, int32_t end)
{
    if (canvas->runs) {
        const uint32_t column = (uint32_t)x * (uint32_t)canvas->height;
        return dn_rle_append(canvas->runs, column + (uint32_t)begin, column + (uint32_t)end);
    }
    for (int32_t y = begin; y < end; y++) canvas->bytes[(int64_t)y * canvas->width + x] = 1;
    return DN_OK;
}

/* The first pixel of a piece that is on the other side of the threshold than the piece's first. */
static int32_t dn_crossing(const dn_axis *rows, int32_t piece, double a, double b, double threshold)
{
    int32_t near = rows->begin[piece], far = rows->begin[piece + 1] - 1;
    const bool starts = a + rows->first[piece] * (b - a) >= threshold;
    while (far - near > 1) {
        const int32_t middle = near + (far - near) / 2;
        const bool is_set = a + dn_behind(rows, piece, middle) * (b - a) >= threshold;
        if (is_set == starts)
            near = middle;
        else
            far = middle;
    }
    return far;
}

/* Paints image column x. cells: (side + 2) probabilities at this column, 0 at either end. */
static dn_status dn_paste_column(const dn_canvas *canvas, int32_t x, const dn_axis *rows,
                                 const double *cells, double threshold)
{
    bool inside = false;
    int32_t start = 0;
    for (int32_t p = 0; p <= rows->side; p++) {
        if (rows->begin[p] == rows->begin[p + 1]) continue;
        const double a = cells[p], b = cells[p + 1];
        const bool starts = a + rows->first[p] * (b - a) >= threshold;
        const bool ends = a + rows->last[p] * (b - a) >= threshold;
        if (starts && !inside) start = rows->begin[p];
        if (!starts && inside) DN_TRY(dn_paint(canvas, x, start, rows->begin[p]));
        if (starts != ends) {
            const int32_t crossing = dn_crossing(rows, p, a, b, threshold);
            if (starts) DN_TRY(dn_paint(canvas, x, start, crossing));
            start = crossing;
        }
        inside = ends;
    }
    return inside ? dn_paint(canvas, x, start, rows->begin[rows->side + 1]) : DN_OK;
}

static dn_status dn_paste(const dn_canvas *canvas, const float *mask /* (side, side) */,
                          int32_t side, dn_box box, double threshold)
{
    dn_axis columns, rows;
    dn_axis_make(&columns, (double)box.x0, (double)box.x1, side, canvas->width);
    dn_axis_make(&rows, (double)box.y0, (double)box.y1, side, canvas->height);
    double cells[DN_MASK_SIDE_MAX + 2] = {0};
    for (int32_t p = 0; p <= side; p++) {
        for (int32_t x = columns.begin[p]; x < columns.begin[p + 1]; x++) {
            const double behind = dn_behind(&columns, p, x);
            for (int32_t i = 0; i < side; i++) {
                const double left = p > 0 ? (double)mask[i * side + p - 1] : 0.0;
                const double right = p < side ? (double)mask[i * side + p] : 0.0;
                cells[i + 1] = left + behind * (right - left);
            }
            DN_TRY(dn_paste_column(canvas, x, &rows, cells, threshold));
        }
    }
    return DN_OK;
}

static dn_status dn_check_paste(int32_t side, dn_box box, float threshold)
{
    if (side < 1 || side > DN_MASK_SIDE_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "paste: mask side %d is out of range 1..%d", (int)side,
                       DN_MASK_SIDE_MAX);
    if (!(threshold > 0 && threshold <= 1))
        return dn_fail(DN_ERROR_ARGUMENT, "paste: threshold %g is not in (0, 1]",
                       (double)threshold);
    if (!(isfinite(box.x0) && isfinite(box.y0) && isfinite(box.x1) && isfinite(box.y1)))
        return dn_fail(DN_ERROR_ARGUMENT, "paste: box (%g, %g, %g, %g) must be finite",
                       (double)box.x0, (double)box.y0, (double)box.x1, (double)box.y1);
    return DN_OK;
}

dn_status dn_mask_paste(dn_rle *out, const float *mask, int32_t side, dn_box box, int32_t height,
                        int32_t width, float threshold)
{
    DN_TRY(dn_check_paste(side, box, threshold));
    dn_rle_builder builder;
    DN_TRY(dn_rle_begin(&builder, height, width));
    const dn_canvas canvas = {.runs = &builder, .height = height, .width = width};
    dn_status status = DN_OK;
    if (!dn_box_is_empty(box)) status = dn_paste(&canvas, mask, side, box, (double)threshold);
    return dn_rle_finish(&builder, status, out);
}

dn_status dn_mask_paste_dense(uint8_t *out, const float *mask, int32_t side, dn_box box,
                              int32_t height, int32_t width, float threshold)
{
    DN_TRY(dn_check_paste(side, box, threshold));
    DN_TRY(dn_rle_check_size("paste", height, width));
    const dn_canvas canvas = {.bytes = out, .height = height, .width = width};
    memset(out, 0, (size_t)height * (size_t)width);
    return dn_box_is_empty(box) ? DN_OK : dn_paste(&canvas, mask, side, box, (double)threshold);
}
