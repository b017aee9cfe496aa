/* int8: inputs become q in 0..255 with x about scale * (q - zero), weights integers in -127..127
 * times a scale a filter.
 *
 * out = input scale * filter scale * (sum(q * w) - zero * sum(w)) + shift. The second sum is where
 * the first begins. Padding is `zero`. Rounding is to nearest, to even at ties; inputs beyond the
 * range take its ends. The same operations everywhere: the integers do not depend on the machine.
 */
#include "blocked/conv_low.h"
#include "blocked/throughput.h"

#include <float.h>
#include <math.h>

#if DN_INT8_IN_WORD == 4
typedef int8_t dn_weight;
#define dn_store_words(to, x) dn_store_bytes(to, (dn_vec_bits)(x))
#else
typedef int16_t dn_weight;
#define dn_store_words(to, x) dn_store_halves(to, (dn_vec_bits)(x))
#endif

enum { MOST_WEIGHT = 127, MOST_INPUT = 255 };

static uint32_t padding(const dn_quantization *quant)
{
    return (uint32_t)quant->zero * (DN_INT8_IN_WORD == 4 ? 0x01010101u : 0x00010001u);
}

/* The addition of 1.5 * 2^23 rounds, and leaves the integer in the lowest 16 bits. */
static void convert(const dn_quantization *quant, const float *in, int32_t pixels, uint32_t *to)
{
    const dn_vec inverse = dn_vec_set(1.0f / quant->scale), zero = dn_vec_set((float)quant->zero);
    const dn_vec least = dn_vec_set(0.0f), most = dn_vec_set(MOST_INPUT);
    const dn_vec magic = dn_vec_set(12582912.0f);
    for (int32_t x = 0; x < pixels; ++x, in += DN_LANES, to += DN_LANES) {
        const dn_vec q = dn_vec_load(in) * inverse + zero;
        const dn_vec within = dn_vec_max(least, dn_vec_min(most, q));
        dn_store_words(to, within + magic);
    }
}

static float weight_scale(const float *weights, float factor, int32_t count)
{
    float most = 0;
    for (int32_t i = 0; i < count; ++i) most = fmaxf(most, fabsf(weights[i] * factor));
    return most / MOST_WEIGHT;
}

static int32_t pack(const dn_low_filter *filter)
{
    const float inverse = filter->scale > FLT_MIN ? 1.0f / filter->scale : 0.0f;
    int32_t sum = 0;
    for (int32_t c = 0; c < filter->channels; ++c)
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            const float w = filter->weights[c * filter->taps + tap] * filter->factor;
            const dn_weight q = (dn_weight)lrintf(w * inverse);
            memcpy(dn_low_place(filter, DN_INT8_IN_WORD, c, tap), &q, sizeof q);
            sum += q;
        }
    return sum;
}

const dn_conv_low DN_ISA_NAME(dn_conv_low_int8) = {
    .in_word = DN_INT8_IN_WORD,
    .cycles = DN_INT8_CYCLES,
    .most_inputs = INT32_MAX / (MOST_WEIGHT * MOST_INPUT) / 2,
    .kernel = DN_ISA_NAME(dn_conv_tile_int8),
    .padding = padding,
    .convert = convert,
    .weight_scale = weight_scale,
    .pack = pack,
};
