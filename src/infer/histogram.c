/* Distributions of activations and the ranges chosen from them. See histogram.h.
 *
 * A range is found by shrinking the smallest and the largest value towards 0 in 64 steps: first
 * both by the same share, then the low end alone, then the high one.
 */
#include "infer/histogram.h"

#include <math.h>
#include <string.h>

static const float least_reach = 0x1p-20f, most_reach = 0x1p100f;

static const double narrowest = 0x1p-60;

enum { DN_MIDDLE = DN_HISTOGRAM_BINS / 2, DN_LEVELS = 255, DN_SHRINKS = 64 };

/* Two bins become one. */
static void double_reach(dn_histogram *histogram)
{
    int64_t *middle = histogram->counts + DN_MIDDLE;
    for (int32_t i = 0; i < DN_MIDDLE / 2; i++) middle[i] = middle[2 * i] + middle[2 * i + 1];
    for (int32_t i = 1; i <= DN_MIDDLE / 2; i++) middle[-i] = middle[-2 * i] + middle[-2 * i + 1];
    memset(middle + DN_MIDDLE / 2, 0, DN_MIDDLE / 2 * sizeof *middle);
    memset(middle - DN_MIDDLE, 0, DN_MIDDLE / 2 * sizeof *middle);
    histogram->reach *= 2;
}

void dn_histogram_add(dn_histogram *histogram, const float *values, int64_t count)
{
    float low = histogram->low, high = histogram->high;
    bool broken = false;
    for (int64_t i = 0; i < count; i++) {
        broken |= !(fabsf(values[i]) < most_reach);
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    histogram->broken |= broken;
    if (histogram->broken || count == 0) return;
    histogram->low = low;
    histogram->high = high;
    histogram->values += count;
    if (histogram->reach <= 0) histogram->reach = least_reach;
    while (high >= histogram->reach || low < -histogram->reach) double_reach(histogram);
    const float bins = (float)DN_MIDDLE / histogram->reach;
    for (int64_t i = 0; i < count; i++)
        histogram->counts[DN_MIDDLE + (int32_t)floorf(values[i] * bins)]++;
}

/* Of every value in the middle of its bin. */
static double squared_error(const dn_histogram *histogram, double low, double high)
{
    const double width = (double)histogram->reach / DN_MIDDLE;
    const double scale = (high - low) / DN_LEVELS, zero = rint(-low / scale);
    const int32_t first = DN_MIDDLE + (int32_t)floor((double)histogram->low / width);
    const int32_t last = DN_MIDDLE + (int32_t)floor((double)histogram->high / width);
    double sum = 0;
    for (int32_t i = first; i <= last; i++) {
        const double x = (i - DN_MIDDLE + .5) * width;
        const double q = fmin(fmax(rint(x / scale) + zero, 0), DN_LEVELS);
        const double error = (q - zero) * scale - x;
        sum += (double)histogram->counts[i] * error * error;
    }
    return sum;
}

dn_range dn_histogram_range(const dn_histogram *histogram)
{
    const double low = (double)histogram->low, high = (double)histogram->high;
    if (high - low < narrowest) return (dn_range){0, 1}; /* as good as 0, all of them */
    double best_low = low, best_high = high, least = squared_error(histogram, low, high);
    for (int round = 0; round < 3; round++)
        for (int32_t i = 0; i < DN_SHRINKS; i++) {
            const double share = 1 - (double)i / DN_SHRINKS;
            const double a = round == 2 ? best_low : low * share;
            const double b = round == 1 ? best_high : high * share;
            const double error = squared_error(histogram, a, b);
            if (error >= least) continue;
            least = error;
            best_low = a;
            best_high = b;
        }
    return (dn_range){(float)best_low, (float)best_high};
}
