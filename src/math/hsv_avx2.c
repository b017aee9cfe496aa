/* The colour changes for AVX2. See hsv.h. */
#include "math/hsv.h"

void dn_hsv_avx2(float *red, float *green, float *blue, int64_t pixels, dn_hsv_change change)
{
    dn_hsv_rows(red, green, blue, pixels, change);
}
