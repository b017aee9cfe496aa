/* bfloat16 as CUDA has it, on the CPU: rounded to nearest even. */
#ifndef DN_TESTS_HOST_CUDA_BF16_H
#define DN_TESTS_HOST_CUDA_BF16_H

#include "cuda_runtime.h"

struct __nv_bfloat16 {
    uint16_t bits;
};

static inline float __bfloat162float(__nv_bfloat16 value)
{
    const uint32_t word = (uint32_t)value.bits << 16;
    float wide;
    std::memcpy(&wide, &word, sizeof wide);
    return wide;
}

static inline __nv_bfloat16 __float2bfloat16_rn(float value)
{
    uint32_t word;
    if (std::isnan(value)) return {0x7fff};
    std::memcpy(&word, &value, sizeof word);
    return {(uint16_t)((word + 0x7fff + (word >> 16 & 1)) >> 16)};
}

#endif
