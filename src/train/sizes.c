/* The input sizes of multi-scale training: see sizes.h. */
#include "train/sizes.h"

#include "core/rng.h"

enum { DN_SIZE_PERIOD = 10 }; /* iterations */

static int32_t scaled(const dn_sizes *sizes, int32_t side, float factor)
{
    return (int32_t)(lroundf(factor * (float)side / sizes->step + 1.0f) * lroundf(sizes->step));
}

void dn_sizes_largest(const dn_sizes *sizes, int32_t *width, int32_t *height)
{
    const bool several = sizes->factor > 1.0f;
    *width = several ? scaled(sizes, sizes->width, sizes->factor) : sizes->width;
    *height = several ? scaled(sizes, sizes->height, sizes->factor) : sizes->height;
}

void dn_sizes_at(const dn_sizes *sizes, int64_t iteration, int32_t *width, int32_t *height)
{
    *width = sizes->width;
    *height = sizes->height;
    if (sizes->factor <= 1.0f) return;
    dn_rng rng = dn_rng_make(sizes->seed, (uint64_t)(iteration / DN_SIZE_PERIOD), 0, DN_RNG_SIZE);
    const float drawn = dn_rng_uniform(&rng, 1.0f, sizes->factor);
    const float factor = dn_rng_uniform(&rng, 0, 1) < 0.5f ? drawn : 1.0f / drawn;
    *width = scaled(sizes, sizes->width, factor);
    *height = scaled(sizes, sizes->height, factor);
}
