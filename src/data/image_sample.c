/* Views of an image, as training takes them. See darknet.h.
 *
 * Resampling is separable: an axis is a table that gives each output column (or row) the source
 * columns it is made of and their weights. Each source row that an output row needs is resampled
 * horizontally, in float, then the rows are added with their weights. Output rows are split among
 * the threads, which changes no result.
 */
#include "core/memory.h"
#include "data/image.h"
#include "math/letterbox.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    DN_ROWS_KEPT = 4, /* resampled rows that a thread remembers: an output row uses 2 or 3 */
    DN_BYTE_VALUES = 256,
};

/* Output column i is the sum over k < counts[i] of weights[i * taps + k] times source column
 * firsts[i] + k; counts[i] == 0: outside the image. */
typedef struct dn_axis {
    int32_t size, taps;
    int32_t *firsts; /* (size) */
    int32_t *counts; /* (size) */
    float *weights;  /* (size, taps) */
} dn_axis;

static dn_status axis_alloc(dn_axis *axis, int32_t size, int32_t taps)
{
    *axis = (dn_axis){.size = size, .taps = taps};
    axis->firsts = dn_alloc((size_t)size * sizeof *axis->firsts);
    axis->counts = dn_alloc((size_t)size * sizeof *axis->counts);
    axis->weights = dn_alloc((size_t)size * (size_t)taps * sizeof *axis->weights);
    return axis->firsts && axis->counts && axis->weights ? DN_OK : DN_ERROR_MEMORY;
}

static void axis_free(dn_axis *axis)
{
    dn_free(axis->firsts);
    dn_free(axis->counts);
    dn_free(axis->weights);
}

/* Samples at image_x = scale * net_x + offset. The weights are a triangle around the output pixel's
 * centre with half-width max(1, |scale|/2): plain bilinear interpolation up to a shrinking by 2,
 * from there an average over the output pixel's footprint. An output pixel whose centre lies
 * outside the image is outside; inside, the border repeats. */
static dn_status axis_sample(dn_axis *axis, int32_t source, int32_t size, float scale, float offset)
{
    const double radius = fmax(1, .5 * fabs((double)scale));
    DN_TRY(axis_alloc(axis, size, (int32_t)fmin(2 * radius + 2, source)));
    for (int32_t i = 0; i < size; i++) {
        const double centre = (double)scale * (i + .5) + (double)offset;
        if (!(centre >= 0 && centre < source)) continue;
        const double position = centre - .5;
        const int32_t low = (int32_t)fmax(floor(position - radius) + 1, 0);
        const int32_t high = (int32_t)fmin(ceil(position + radius) - 1, source - 1);
        float *weights = axis->weights + (size_t)i * (size_t)axis->taps;
        double sum = 0;
        for (int32_t k = low; k <= high; k++) sum += 1 - fabs(k - position) / radius;
        for (int32_t k = low; k <= high; k++)
            weights[k - low] = (float)((1 - fabs(k - position) / radius) / sum);
        axis->firsts[i] = low;
        axis->counts[i] = high - low + 1;
    }
    return DN_OK;
}

typedef struct dn_resample {
    const dn_image *image;
    dn_axis across, down;
    float fill;
    float values[DN_BYTE_VALUES]; /* byte / 255 */
    float *out;                   /* (3, down.size, across.size) */
} dn_resample;

/* One source row through the horizontal table: row is planar (3, across.size). */
static void resample_row(const dn_resample *job, int32_t source_y, float *row)
{
    const dn_axis *axis = &job->across;
    const size_t width = (size_t)axis->size;
    const uint8_t *line = job->image->data + (size_t)source_y * (size_t)job->image->width * 3;
    for (size_t x = 0; x < width; x++) {
        const float *weights = axis->weights + x * (size_t)axis->taps;
        const uint8_t *pixel = line + (size_t)axis->firsts[x] * 3;
        float red = 0, green = 0, blue = 0;
        for (int32_t k = 0; k < axis->counts[x]; k++, pixel += 3) {
            red += weights[k] * job->values[pixel[0]];
            green += weights[k] * job->values[pixel[1]];
            blue += weights[k] * job->values[pixel[2]];
        }
        const bool outside = axis->counts[x] == 0;
        row[x] = outside ? job->fill : red;
        row[width + x] = outside ? job->fill : green;
        row[2 * width + x] = outside ? job->fill : blue;
    }
}

/* Output rows first..last-1; `rows` keeps DN_ROWS_KEPT resampled rows, planar (3, width). */
static void resample_band(const dn_resample *job, int32_t first, int32_t last, float *rows)
{
    const size_t width = (size_t)job->across.size, plane = width * (size_t)job->down.size;
    int32_t kept[DN_ROWS_KEPT] = {-1, -1, -1, -1};
    for (int32_t y = first; y < last; y++) {
        const float *weights = job->down.weights + (size_t)y * (size_t)job->down.taps;
        const int32_t count = job->down.counts[y];
        float *out = job->out + (size_t)y * width;
        for (size_t c = 0; c < 3; c++)
            for (size_t x = 0; x < width; x++) out[c * plane + x] = count == 0 ? job->fill : 0;
        for (int32_t k = 0; k < count; k++) {
            const int32_t source_y = job->down.firsts[y] + k;
            float *row = rows + (size_t)(source_y % DN_ROWS_KEPT) * 3 * width;
            if (kept[source_y % DN_ROWS_KEPT] != source_y) resample_row(job, source_y, row);
            kept[source_y % DN_ROWS_KEPT] = source_y;
            for (size_t c = 0; c < 3; c++)
                for (size_t x = 0; x < width; x++)
                    out[c * plane + x] += weights[k] * row[c * width + x];
        }
    }
}

/* Runs the job whose tables are made and frees them; `made` says how that went. */
static dn_status resample(dn_resample *job, dn_status made, int32_t threads)
{
    if (threads < 1) threads = 1;
    if (threads > job->down.size) threads = job->down.size;
    for (int i = 0; i < DN_BYTE_VALUES; i++) job->values[i] = dn_byte_value((uint8_t)i);
    const size_t scratch = (size_t)job->across.size * 3 * DN_ROWS_KEPT;
    float *rows = NULL; /* (threads, DN_ROWS_KEPT, 3, width) */
    dn_status status = made;
    if (status == DN_OK && !(rows = dn_alloc((size_t)threads * scratch * sizeof *rows)))
        status = DN_ERROR_MEMORY;
    if (status == DN_OK) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int32_t t = 0; t < threads; t++) {
            const int32_t first = (int32_t)((int64_t)job->down.size * t / threads);
            const int32_t last = (int32_t)((int64_t)job->down.size * (t + 1) / threads);
            resample_band(job, first, last, rows + (size_t)t * scratch);
        }
    }
    dn_free(rows);
    axis_free(&job->across);
    axis_free(&job->down);
    return status;
}

dn_status dn_image_sample(const dn_image *image, const dn_affine *affine, int32_t width,
                          int32_t height, float fill, int32_t threads, float *out)
{
    const float numbers[] = {affine->scale_x, affine->scale_y, affine->offset_x, affine->offset_y};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(fabsf(numbers[i]) <= FLT_MAX))
            return dn_fail(DN_ERROR_ARGUMENT, "sampling: the map is not finite");
    if (image->width < 1 || image->height < 1 || width < 1 || height < 1)
        return dn_fail(DN_ERROR_ARGUMENT, "sampling %d x %d pixels of an image of %d x %d", width,
                       height, image->width, image->height);
    dn_resample job = {.image = image, .fill = fill, .out = out};
    dn_status status =
        axis_sample(&job.across, image->width, width, affine->scale_x, affine->offset_x);
    if (status == DN_OK)
        status = axis_sample(&job.down, image->height, height, affine->scale_y, affine->offset_y);
    return resample(&job, status, threads);
}
