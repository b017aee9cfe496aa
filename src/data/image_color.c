/* Colour changes in the HSV model, as Darknet's augmentation makes them. See darknet.h.
 *
 * V = max(r, g, b), S = (max - min)/max, H in [0, 1) is the place on the six-sided colour wheel
 * red, yellow, green, cyan, blue, magenta. A gray pixel has no hue and stays gray.
 */
#include "darknet.h"

#include <math.h>

typedef struct dn_color {
    float red, green, blue;
} dn_color;

/* Sectors from red, 0 <= h < 6; 0 for gray. */
static float sector_of(dn_color color, float high, float delta)
{
    if (!(delta > 0)) return 0;
    float sector;
    if (color.red == high)
        sector = (color.green - color.blue) / delta;
    else if (color.green == high)
        sector = 2 + (color.blue - color.red) / delta;
    else
        sector = 4 + (color.red - color.green) / delta;
    return sector < 0 ? sector + 6 : sector;
}

/* The colour of a sector position (0 <= h <= 6), saturation and value. */
static dn_color from_hsv(float sector, float saturation, float value)
{
    const int whole = (int)sector;
    const float part = sector - (float)whole;
    const float low = value * (1 - saturation);
    const float falling = value * (1 - saturation * part);
    const float rising = value * (1 - saturation * (1 - part));
    switch (whole) {
    case 1:
        return (dn_color){falling, value, low};
    case 2:
        return (dn_color){low, value, rising};
    case 3:
        return (dn_color){low, falling, value};
    case 4:
        return (dn_color){rising, low, value};
    case 5:
        return (dn_color){value, low, falling};
    default:
        return (dn_color){value, rising, low}; /* 0, and 6, which is red again */
    }
}

static float clamp(float value)
{
    return fminf(fmaxf(value, 0), 1);
}

static dn_color change(dn_color color, float hue, float saturation, float exposure)
{
    const float high = fmaxf(color.red, fmaxf(color.green, color.blue));
    const float low = fminf(color.red, fminf(color.green, color.blue));
    const float delta = high - low;
    float turn = sector_of(color, high, delta) / 6 + hue;
    turn -= floorf(turn);
    const float strength = high > 0 ? delta / high : 0;
    const dn_color new_color = from_hsv(turn * 6, strength * saturation, high * exposure);
    return (dn_color){clamp(new_color.red), clamp(new_color.green), clamp(new_color.blue)};
}

void dn_image_hsv(float *image, int64_t pixels, float hue, float saturation, float exposure,
                  int32_t threads)
{
    float *red = image, *green = image + pixels, *blue = image + 2 * pixels; /* (pixels) each */
    if (threads < 1) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pixels; i++) {
        const dn_color color =
            change((dn_color){red[i], green[i], blue[i]}, hue, saturation, exposure);
        red[i] = color.red;
        green[i] = color.green;
        blue[i] = color.blue;
    }
}
