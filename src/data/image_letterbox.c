/* From image bytes to a network's input by Darknet's letterbox. See darknet.h.
 *
 * The resize goes along the rows first, then down (math/letterbox.h). Each source row that is
 * needed is resampled once a band of output rows, into one of two rows that are kept: an output row
 * is made of two neighbours. Results do not depend on the bands.
 */
#include "core/memory.h"
#include "data/letterbox_bands.h"
#include "math/cpu.h"

#include <string.h>

/* Of one thread. */
static size_t row_floats(const dn_letterbox_bands *bands)
{
    return 6 * (size_t)bands->letterbox->net_w;
}

static dn_status make_columns(dn_letterbox_bands *bands)
{
    const dn_letterbox *l = bands->letterbox;
    dn_letterbox_columns *columns = &bands->columns;
    const size_t width = (size_t)l->net_w;
    int32_t *memory = dn_alloc(width * (2 * sizeof(int32_t) + 2 * sizeof(float)));
    if (!memory) return DN_ERROR_MEMORY;
    columns->left = memory;
    columns->right = memory + width;
    columns->left_weight = (float *)(void *)(memory + 2 * width);
    columns->right_weight = columns->left_weight + width;
    columns->begin = l->net_w;
    for (int32_t x = 0; x < l->net_w; x++) {
        const dn_tap tap = dn_letterbox_tap(x, l->image_w, l->new_w, l->pad_x);
        if (tap.count == 0) continue;
        const int32_t right = tap.first + tap.count - 1;
        if (x < columns->begin) columns->begin = x;
        columns->end = x + 1;
        columns->left[x] = 3 * tap.first;
        columns->right[x] = 3 * right;
        columns->left_weight[x] = tap.weights[0];
        columns->right_weight[x] = tap.weights[1];
        if (right + 1 < l->image_w) bands->quick_end = x + 1;
    }
    return DN_OK;
}

/* One source row: (3, net_w). */
static void resample_row(const dn_letterbox_bands *bands, int32_t y, float *row)
{
    const dn_letterbox_columns *columns = &bands->columns;
    const uint8_t *line = bands->image->data + (size_t)y * (size_t)bands->image->width * 3;
    int32_t from = columns->begin;
#if defined(__x86_64__)
    if (dn_cpu_isa() >= DN_ISA_AVX2 && bands->quick_end > from) {
        dn_letterbox_row_avx2(columns, line, from, bands->quick_end, row, bands->letterbox->net_w);
        from = bands->quick_end;
    }
#endif
    dn_letterbox_row(columns, line, from, columns->end, row, bands->letterbox->net_w);
}

static void fill(float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) values[i] = DN_LETTERBOX_FILL;
}

static void blend(float *restrict out, int32_t width, dn_tap tap, const float *restrict first,
                  const float *restrict second)
{
    if (tap.count == 0)
        fill(out, width);
    else if (tap.count == 1)
        memcpy(out, first, (size_t)width * sizeof *out);
    else
        for (int32_t x = 0; x < width; x++)
            out[x] = tap.weights[0] * first[x] + tap.weights[1] * second[x];
}

/* Output rows first..last-1; rows: (2, 3, net_w). */
static void make_band(const dn_letterbox_bands *bands, int32_t first, int32_t last, float *rows)
{
    const dn_letterbox *l = bands->letterbox;
    const int64_t width = l->net_w, plane = width * l->net_h;
    int32_t kept[2] = {-1, -1};
    fill(rows, 6 * width); /* the columns outside of the image stay so */
    for (int32_t y = first; y < last; y++) {
        const dn_tap tap = dn_letterbox_tap(y, l->image_h, l->new_h, l->pad_y);
        for (int32_t k = 0; k < tap.count; k++) {
            const int32_t source = tap.first + k;
            if (kept[source % 2] != source)
                resample_row(bands, source, rows + source % 2 * 3 * width);
            kept[source % 2] = source;
        }
        const float *upper = rows + tap.first % 2 * 3 * width;
        const float *lower = rows + (tap.first + 1) % 2 * 3 * width;
        for (int32_t c = 0; c < 3; c++)
            blend(bands->out + c * plane + y * width, l->net_w, tap, upper + c * width,
                  lower + c * width);
    }
}

dn_status dn_letterbox_begin(const dn_image *image, const dn_letterbox *letterbox, int32_t threads,
                             int32_t count, float *out, dn_letterbox_bands *bands)
{
    const dn_letterbox *l = letterbox;
    if (image->width != l->image_w || image->height != l->image_h)
        return dn_fail(DN_ERROR_ARGUMENT, "the letterbox is made for %d x %d, the image is %d x %d",
                       l->image_w, l->image_h, image->width, image->height);
    if (count > l->net_h) count = l->net_h;
    *bands = (dn_letterbox_bands){
        .image = image, .letterbox = l, .count = count > 1 ? count : 1, .out = out};
    if (threads < 1) threads = 1;
    bands->rows = dn_alloc_unset((size_t)threads * row_floats(bands) * sizeof *bands->rows);
    dn_status status = bands->rows ? make_columns(bands) : DN_ERROR_MEMORY;
    if (status != DN_OK) dn_letterbox_end(bands);
    return status;
}

void dn_letterbox_band(const dn_letterbox_bands *bands, int32_t band, int32_t thread)
{
    const int64_t height = bands->letterbox->net_h;
    make_band(bands, (int32_t)(height * band / bands->count),
              (int32_t)(height * (band + 1) / bands->count),
              bands->rows + (size_t)thread * row_floats(bands));
}

void dn_letterbox_end(dn_letterbox_bands *bands)
{
    dn_free(bands->columns.left);
    dn_free(bands->rows);
}

dn_status dn_image_to_input(const dn_image *image, const dn_letterbox *letterbox, int32_t threads,
                            float *out)
{
    dn_letterbox_bands bands;
    DN_TRY(dn_letterbox_begin(image, letterbox, threads, threads, out, &bands));
#pragma omp parallel for num_threads(bands.count) schedule(static, 1)
    for (int32_t band = 0; band < bands.count; band++) dn_letterbox_band(&bands, band, band);
    dn_letterbox_end(&bands);
    return DN_OK;
}
