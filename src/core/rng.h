/* Random numbers as a function of where they are used, not of how many were drawn before.
 *
 * dn_rng_make(seed, a, b, c) starts a stream from four words (seed, iteration, slot, purpose), so
 * that prefetching, resuming and threads change nothing. Method: splitmix64 (Steele, Lea, Flood
 * 2014) over a hash of the words; the stream is a struct on the caller's stack.
 */
#ifndef DN_CORE_RNG_H
#define DN_CORE_RNG_H

#include "math/portable.h"

typedef struct dn_rng {
    uint64_t state;
} dn_rng;

DN_HD uint64_t dn_rng_next(dn_rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

DN_HD dn_rng dn_rng_make(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    dn_rng rng = {seed};
    rng.state = dn_rng_next(&rng) ^ a;
    rng.state = dn_rng_next(&rng) ^ b;
    rng.state = dn_rng_next(&rng) ^ c;
    rng.state = dn_rng_next(&rng);
    return rng;
}

/* Uniform in [low, high). */
DN_HD float dn_rng_uniform(dn_rng *rng, float low, float high)
{
    const float unit = (float)(dn_rng_next(rng) >> 40) * 0x1p-24f;
    return low + unit * (high - low);
}

/* Uniform in 0..count-1; count >= 1. */
DN_HD int32_t dn_rng_below(dn_rng *rng, int32_t count)
{
    return (int32_t)((dn_rng_next(rng) >> 32) * (uint64_t)count >> 32);
}

/* Standard normal (Box and Muller 1958). */
DN_HD float dn_rng_normal(dn_rng *rng)
{
    const float radius = sqrtf(-2.0f * logf(1.0f - dn_rng_uniform(rng, 0.0f, 1.0f)));
    return radius * cosf(6.28318530718f * dn_rng_uniform(rng, 0.0f, 1.0f));
}

/* What a stream is for: the last word of dn_rng_make. */
enum dn_rng_purpose {
    DN_RNG_INIT = 1,
    DN_RNG_DROPOUT,
    DN_RNG_SHUFFLE,
    DN_RNG_AUGMENT,
    DN_RNG_ROI,
    DN_RNG_SIZE,
    DN_RNG_RATE,
    DN_RNG_COMPOSE,
    DN_RNG_PASTE,
};

#endif
