/* Colour changes in the HSV model, as Darknet's augmentation makes them. See darknet.h; the
 * arithmetic is in math/hsv.h. */
#include "darknet.h"
#include "math/cpu.h"
#include "math/hsv.h"

enum { BLOCK = 4096 }; /* pixels of a thread's piece */

static void change_block(float *red, float *green, float *blue, int64_t pixels,
                         dn_hsv_change change)
{
#if defined(__x86_64__)
    if (dn_cpu_isa() != DN_ISA_PLAIN) {
        dn_hsv_avx2(red, green, blue, pixels, change);
        return;
    }
#endif
    dn_hsv_rows(red, green, blue, pixels, change);
}

void dn_image_hsv(float *image, int64_t pixels, float hue, float saturation, float exposure,
                  int32_t threads)
{
    float *red = image, *green = image + pixels, *blue = image + 2 * pixels; /* (pixels) each */
    const dn_hsv_change change = {hue, saturation, exposure};
    if (threads < 1) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pixels; i += BLOCK) {
        const int64_t count = pixels - i < BLOCK ? pixels - i : BLOCK;
        change_block(red + i, green + i, blue + i, count, change);
    }
}
