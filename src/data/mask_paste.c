/* Pasting: from the branch's M x M probabilities to pixels of the original image.
 *
 * What a pixel's probability is: math/mask_paste.h. The pixel is set where it reaches the
 * threshold. Nothing is rounded to whole pixels or resampled before that. The box is continuous and
 * may leave the image.
 *
 * Method: along an image column the probability is a chain of at most M + 1 straight pieces from
 * one cell to the next, so the mask changes only in pieces whose cells lie on both sides of the
 * threshold, and a division tells where. Between the centres of two columns of cells most cells are
 * on one side in every image column; only the others are looked at in each. So the cost follows the
 * outline, not the area, and the runs come out directly. Where rounding could decide (a cell at the
 * threshold, a crossing at a pixel's centre) the pixels themselves are asked. So all of this equals
 * testing every pixel.
 */
#include "math/mask_paste.h"
#include "data/geometry.h"
#include "data/rle.h"

#include <math.h>
#include <string.h>

/* Image pixels along one axis, cut where they pass a cell centre: piece p holds the pixels
 * begin[p] .. begin[p + 1] - 1, which lie between the centres of cells p - 1 and p. */
typedef struct dn_axis {
    dn_paste_axis at;
    int32_t pixels;                      /* of the image */
    int32_t begin[DN_MASK_SIDE_MAX + 2]; /* (side + 2) */
    double first[DN_MASK_SIDE_MAX + 1];  /* (side + 1): how far behind cell p - 1 a piece's first
                                            pixel lies, 0..1 */
    double length;                       /* of a piece, image pixels */
} dn_axis;

static inline double dn_behind(const dn_axis *axis, int32_t piece, int32_t pixel)
{
    return dn_paste_cell_at(axis->at, pixel) - (piece - 1);
}

static void dn_axis_make(dn_axis *axis, double from, double to, int32_t side, int32_t pixels)
{
    axis->at = (dn_paste_axis){from, to, side};
    axis->pixels = pixels;
    for (int32_t p = 0; p <= side + 1; p++)
        axis->begin[p] =
            dn_paste_first_pixel(axis->at, p > 0 ? axis->begin[p - 1] : 0, pixels, p - 1);
    for (int32_t p = 0; p <= side; p++) axis->first[p] = dn_behind(axis, p, axis->begin[p]);
    axis->length = (to - from) / side;
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

/* ---- one image column ---- */

/* Paints what lies between the first and the second turn, the third and the fourth, ... */
typedef struct dn_pen {
    const dn_canvas *canvas;
    int32_t x, start;
    bool inside;
} dn_pen;

static dn_status dn_turn(dn_pen *pen, int32_t y)
{
    pen->inside = !pen->inside;
    if (pen->inside)
        pen->start = y;
    else
        return dn_paint(pen->canvas, pen->x, pen->start, y);
    return DN_OK;
}

/* Cells in bits: 0 and side + 1 are those outside the mask. */
enum { DN_WORD = 64, DN_WORDS = (DN_MASK_SIDE_MAX + 2 + DN_WORD - 1) / DN_WORD };

/* What the image columns between the centres of two columns of cells have in common. */
typedef struct dn_strip {
    double threshold;
    double left[DN_MASK_SIDE_MAX + 2]; /* (side + 2): cells downwards */
    double rise[DN_MASK_SIDE_MAX + 2]; /* from there to the right */
    uint64_t inside[DN_WORDS];         /* in every image column */
    int32_t open_count;
    int32_t open[DN_MASK_SIDE_MAX + 2]; /* cells that are not on one side in all of them */
} dn_strip;

/* One image column of it. */
typedef struct dn_column {
    const dn_strip *strip;
    const dn_axis *rows;
    double behind; /* the left centre, 0..1 */
} dn_column;

static inline double dn_value(const dn_column *column, int32_t cell)
{
    return column->strip->left[cell] + column->behind * column->strip->rise[cell];
}

/* What rounding may do to the pixel at which a line crosses the threshold is far less than this. */
#define DN_NEAR_PIXEL 1e-6

/* Not so for lines that are nearly level, and for pieces longer than any image wants. */
#define DN_LEVEL 1e-3
#define DN_LONG  1e4

static dn_paste_piece dn_piece_of(const dn_column *column, int32_t p)
{
    const dn_axis *rows = column->rows;
    return (dn_paste_piece){.axis = rows->at,
                            .index = p,
                            .begin = rows->begin[p],
                            .end = rows->begin[p + 1],
                            .a = dn_value(column, p),
                            .b = dn_value(column, p + 1),
                            .threshold = column->strip->threshold};
}

/* dn_paste_search_turn of a piece whose cells lie on both sides, the first one `set`. */
static int32_t dn_find_turn(const dn_column *column, int32_t index, bool set)
{
    const dn_axis *rows = column->rows;
    const dn_paste_piece piece = dn_piece_of(column, index);
    const double rise = piece.b - piece.a;
    const double crossing = (piece.threshold - piece.a) / rise; /* behind the first cell */
    const double at = (crossing - rows->first[index]) * rows->length;
    if (!(fabs(rise) >= DN_LEVEL && rows->length <= DN_LONG))
        return dn_paste_search_turn(&piece, set);
    if (at < -DN_NEAR_PIXEL) return piece.begin;
    const int32_t whole = (int32_t)at;
    const double rest = at - whole;
    if (!(rest > DN_NEAR_PIXEL && rest < 1 - DN_NEAR_PIXEL))
        return dn_paste_search_turn(&piece, set);
    return whole < piece.end - piece.begin ? piece.begin + whole + 1 : piece.end;
}

/* Looks at every piece, where rounding may decide. */
static dn_status dn_paste_piece_by_piece(dn_pen *pen, const dn_column *column)
{
    const dn_axis *rows = column->rows;
    const int32_t side = rows->at.side;
    for (int32_t p = 0; p <= side; p++) {
        const dn_paste_piece piece = dn_piece_of(column, p);
        if (piece.begin == piece.end) continue;
        const bool set = dn_paste_is_set(&piece, piece.begin);
        if (set != pen->inside) DN_TRY(dn_turn(pen, piece.begin));
        const int32_t turn = dn_paste_search_turn(&piece, set);
        if (turn < piece.end) DN_TRY(dn_turn(pen, turn));
    }
    return pen->inside ? dn_turn(pen, rows->begin[side + 1]) : DN_OK;
}

static dn_status dn_paste_column(dn_pen *pen, const dn_column *column)
{
    const dn_strip *strip = column->strip;
    const int32_t words = (column->rows->at.side + 1) / DN_WORD + 1;
    uint64_t inside[DN_WORDS];
    bool sure = true;
    memcpy(inside, strip->inside, sizeof inside);
    for (int32_t k = 0; k < strip->open_count; k++) {
        const int32_t cell = strip->open[k];
        const double value = dn_value(column, cell);
        const bool set = dn_paste_surely_inside(value, strip->threshold);
        sure &= set | dn_paste_surely_outside(value, strip->threshold);
        inside[cell / DN_WORD] |= (uint64_t)set << cell % DN_WORD;
    }
    if (!sure) return dn_paste_piece_by_piece(pen, column);
    uint64_t before = 0; /* whether the cell before the word's first is inside */
    for (int32_t w = 0; w < words; w++) {
        uint64_t turns = inside[w] ^ (inside[w] << 1 | before);
        before = inside[w] >> (DN_WORD - 1);
        for (; turns != 0; turns &= turns - 1) {
            const int32_t cell = w * DN_WORD + __builtin_ctzll(turns);
            DN_TRY(dn_turn(pen, dn_find_turn(column, cell - 1, pen->inside)));
        }
    }
    return DN_OK;
}

/* ---- the mask ---- */

/* The strip between columns p - 1 and p of the mask, (side, side); false: all outside. */
static bool dn_strip_make(dn_strip *strip, const float *mask, int32_t side, int32_t p)
{
    bool any = false;
    strip->open_count = 0;
    memset(strip->inside, 0, sizeof strip->inside);
    for (int32_t i = 1; i <= side; i++) {
        const float *row = mask + (int64_t)(i - 1) * side;
        const double left = p > 0 ? (double)row[p - 1] : 0, right = p < side ? (double)row[p] : 0;
        strip->left[i] = left;
        strip->rise[i] = right - left;
        if (dn_paste_surely_outside(left, strip->threshold) &&
            dn_paste_surely_outside(right, strip->threshold))
            continue;
        any = true;
        if (dn_paste_surely_inside(left, strip->threshold) &&
            dn_paste_surely_inside(right, strip->threshold))
            strip->inside[i / DN_WORD] |= (uint64_t)1 << i % DN_WORD;
        else
            strip->open[strip->open_count++] = i;
    }
    return any;
}

static dn_status dn_paste(const dn_canvas *canvas, const float *mask /* (side, side) */,
                          int32_t side, dn_box box, double threshold)
{
    dn_axis columns, rows;
    dn_strip strip = {.threshold = threshold};
    dn_axis_make(&columns, (double)box.x0, (double)box.x1, side, canvas->width);
    dn_axis_make(&rows, (double)box.y0, (double)box.y1, side, canvas->height);
    for (int32_t p = 0; p <= side; p++) {
        const bool seen = columns.begin[p] < columns.begin[p + 1];
        if (!seen || !dn_strip_make(&strip, mask, side, p)) continue;
        for (int32_t x = columns.begin[p]; x < columns.begin[p + 1]; x++) {
            const dn_column column = {&strip, &rows, dn_behind(&columns, p, x)};
            dn_pen pen = {.canvas = canvas, .x = x};
            DN_TRY(dn_paste_column(&pen, &column));
        }
    }
    return DN_OK;
}

dn_status dn_paste_check(int32_t side, dn_box box, float threshold)
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
    DN_TRY(dn_paste_check(side, box, threshold));
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
    DN_TRY(dn_paste_check(side, box, threshold));
    DN_TRY(dn_rle_check_size("paste", height, width));
    const dn_canvas canvas = {.bytes = out, .height = height, .width = width};
    memset(out, 0, (size_t)height * (size_t)width);
    return dn_box_is_empty(box) ? DN_OK : dn_paste(&canvas, mask, side, box, (double)threshold);
}
