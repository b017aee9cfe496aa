/* Sampling an image through a map that may turn it: the views of classifiers. See image.h.
 *
 * Bilinear between pixel centres; outside the image everything is 0, and blends with it at the
 * border, as in Darknet. Where the image shrinks by more than 2, an output pixel is the mean of
 * n x n such samples spread evenly over it, n the shrinking's half rounded up, so that no pixel is
 * skipped.
 */
#include "data/image.h"

#include <math.h>

enum { DN_SAMPLES_MAX = 64 }; /* a side: beyond a shrinking by 128 pixels are skipped */

typedef struct dn_pixel {
    float red, green, blue;
} dn_pixel;

static void add(const dn_image *image, int64_t x, int64_t y, float weight, dn_pixel *sum)
{
    if (x < 0 || y < 0 || x >= image->width || y >= image->height) return;
    const uint8_t *at = image->data + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
    sum->red += weight * (float)at[0];
    sum->green += weight * (float)at[1];
    sum->blue += weight * (float)at[2];
}

/* Adds the bilinear sample at a continuous position. */
static void add_sample(const dn_image *image, double x, double y, dn_pixel *sum)
{
    const double left = floor(x - .5), top = floor(y - .5);
    if (!(left >= -1 && top >= -1 && left < image->width && top < image->height)) return;
    const float right_part = (float)(x - .5 - left), low_part = (float)(y - .5 - top);
    const int64_t column = (int64_t)left, row = (int64_t)top;
    add(image, column, row, (1 - right_part) * (1 - low_part), sum);
    add(image, column + 1, row, right_part * (1 - low_part), sum);
    add(image, column, row + 1, (1 - right_part) * low_part, sum);
    add(image, column + 1, row + 1, right_part * low_part, sum);
}

/* Samples a side of an output pixel. */
static int32_t samples_of(const dn_image_map *map)
{
    const double stretch = fmax(hypot(map->xx, map->yx), hypot(map->xy, map->yy));
    return (int32_t)fmin(fmax(ceil(stretch / 2), 1), DN_SAMPLES_MAX);
}

void dn_image_sample_map(const dn_image *image, const dn_image_map *map, int32_t width,
                         int32_t height, float *out)
{
    const int32_t n = samples_of(map);
    const int64_t plane = (int64_t)width * height;
    const float scale = 1.0f / (255.0f * (float)(n * n));
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++, out++) {
            dn_pixel sum = {0};
            for (int32_t k = 0; k < n * n; k++) {
                const double at_x = x + (k % n + .5) / n, at_y = y + (k / n + .5) / n;
                add_sample(image, map->xx * at_x + map->xy * at_y + map->x0,
                           map->yx * at_x + map->yy * at_y + map->y0, &sum);
            }
            out[0] = sum.red * scale;
            out[plane] = sum.green * scale;
            out[2 * plane] = sum.blue * scale;
        }
}
