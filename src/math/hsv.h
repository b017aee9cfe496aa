/* Colour changes in the HSV model, one pixel and rows of them.
 *
 * V = max(r, g, b), S = (max - min)/max, H in [0, 6) is the place on the six-sided colour wheel
 * red, yellow, green, cyan, blue, magenta. A gray pixel has no hue and stays gray. Nothing here
 * branches, so that compilers make vectors of it.
 */
#ifndef DN_MATH_HSV_H
#define DN_MATH_HSV_H

#include <math.h>
#include <stdint.h>

/* hue is added to H / 6, which comes round at 1; S and V are multiplied. */
typedef struct dn_hsv_change {
    float hue, saturation, exposure;
} dn_hsv_change;

/* dn_hsv_rows for AVX2, with its bits. */
void dn_hsv_avx2(float *red, float *green, float *blue, int64_t pixels, dn_hsv_change change);

static inline float dn_hsv_most(float a, float b)
{
    return a > b ? a : b;
}

static inline float dn_hsv_least(float a, float b)
{
    return a < b ? a : b;
}

/* H, 0 <= H < 6; 0 for gray. */
static inline float dn_hsv_sector(float red, float green, float blue, float high, float delta)
{
    float across = red - green, middle = 4.0f;
    across = green == high ? blue - red : across;
    middle = green == high ? 2.0f : middle;
    across = red == high ? green - blue : across;
    middle = red == high ? 0.0f : middle;
    const float sector = middle + across / (delta > 0.0f ? delta : 1.0f);
    const float positive = sector < 0.0f ? sector + 6.0f : sector;
    return delta > 0.0f ? positive : 0.0f;
}

static inline float dn_hsv_clamp(float value)
{
    return dn_hsv_least(dn_hsv_most(value, 0.0f), 1.0f);
}

/* Planes in place, values 0..1. To be inlined where an instruction set is chosen. */
static inline void dn_hsv_rows(float *restrict red, float *restrict green, float *restrict blue,
                               int64_t pixels, dn_hsv_change change)
{
    for (int64_t i = 0; i < pixels; i++) {
        const float high = dn_hsv_most(red[i], dn_hsv_most(green[i], blue[i]));
        const float delta = high - dn_hsv_least(red[i], dn_hsv_least(green[i], blue[i]));
        float turn = dn_hsv_sector(red[i], green[i], blue[i], high, delta) / 6.0f + change.hue;
        turn -= floorf(turn);
        const float saturation =
            (high > 0.0f ? delta / (high > 0.0f ? high : 1.0f) : 0.0f) * change.saturation;
        const float value = high * change.exposure;
        const float sector = turn * 6.0f;
        const float part = sector - floorf(sector);
        const float low = value * (1.0f - saturation);
        const float falling = value * (1.0f - saturation * part);
        const float rising = value * (1.0f - saturation * (1.0f - part));
        float r = value, g = rising, b = low; /* 6 is red again */
        g = sector < 6.0f ? low : g;
        b = sector < 6.0f ? falling : b;
        r = sector < 5.0f ? rising : r;
        b = sector < 5.0f ? value : b;
        r = sector < 4.0f ? low : r;
        g = sector < 4.0f ? falling : g;
        g = sector < 3.0f ? value : g;
        b = sector < 3.0f ? rising : b;
        r = sector < 2.0f ? falling : r;
        b = sector < 2.0f ? low : b;
        r = sector < 1.0f ? value : r;
        g = sector < 1.0f ? rising : g;
        red[i] = dn_hsv_clamp(r);
        green[i] = dn_hsv_clamp(g);
        blue[i] = dn_hsv_clamp(b);
    }
}

#endif
