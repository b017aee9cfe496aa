/* Half precision as CUDA has it, on the CPU: rounded to nearest even. */
#ifndef DN_TESTS_HOST_CUDA_FP16_H
#define DN_TESTS_HOST_CUDA_FP16_H

#include "cuda_runtime.h"

struct __half {
    uint16_t bits;
};

static inline float dn_host_half_value(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float size = exponent == 31  ? mantissa ? NAN : INFINITY
                       : exponent == 0 ? std::ldexp((float)mantissa, -24)
                                       : std::ldexp((float)(mantissa | 1024), exponent - 25);
    return bits & 0x8000 ? -size : size;
}

/* All values: reading is what tests do most. */
static inline const float *dn_host_halves()
{
    static const float *const table = [] {
        float *made = new float[1 << 16];
        for (unsigned bits = 0; bits < 1 << 16; bits++)
            made[bits] = dn_host_half_value((uint16_t)bits);
        return made;
    }();
    return table;
}

static inline float __half2float(__half value)
{
    return dn_host_halves()[value.bits];
}

static inline __half __float2half_rn(float value)
{
    uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    const uint16_t sign = (uint16_t)(word >> 16 & 0x8000);
    const float size = std::fabs(value);
    if (std::isnan(value)) return {(uint16_t)(sign | 0x7e00)};
    if (size >= 65520.0f) return {(uint16_t)(sign | 0x7c00)};
    if (size < 6.103515625e-5f) /* 2^-14: below, steps of 2^-24 */
        return {(uint16_t)(sign | (uint16_t)std::nearbyint(std::ldexp(size, 24)))};
    word &= 0x7fffffff;
    word += 0xfff + (word >> 13 & 1);
    return {(uint16_t)(sign | (word - 0x38000000) >> 13)};
}

#endif
