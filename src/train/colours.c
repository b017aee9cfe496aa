/* Random changes of colour: see colours.h. */
#include "train/colours.h"

float dn_random_factor(dn_rng *rng, float range)
{
    const float factor = dn_rng_uniform(rng, 1.0f, range > 0.0f ? range : 1.0f);
    return dn_rng_uniform(rng, 0, 1) < 0.5f ? factor : 1.0f / factor;
}

void dn_random_colours(const dn_augment *augment, dn_rng *rng, float *pixels, int64_t count)
{
    const float hue = dn_rng_uniform(rng, -augment->hue, augment->hue);
    const float saturation = dn_random_factor(rng, augment->saturation);
    const float exposure = dn_random_factor(rng, augment->exposure);
    if (hue == 0.0f && saturation == 1.0f && exposure == 1.0f) return;
    dn_image_hsv(pixels, count, hue, saturation, exposure, 1);
}
