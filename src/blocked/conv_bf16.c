/* bfloat16: the upper half of a float32. Inputs and weights are rounded to nearest, to even at
 * ties; sums are float32.
 *
 * Infinite stays infinite, and NaN as arithmetic makes it stays NaN.
 */
#include "blocked/conv_low.h"
#include "blocked/throughput.h"

static uint32_t padding(const dn_quantization *quant)
{
    (void)quant;
    return 0;
}

static void convert(const dn_quantization *quant, const float *in, int32_t pixels, uint32_t *to)
{
    (void)quant;
    for (int32_t x = 0; x < pixels; ++x, in += DN_LANES, to += DN_LANES) {
        const dn_vec_bits bits = (dn_vec_bits)dn_vec_load(in);
        dn_store_halves(to, (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
}

static uint16_t round_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static int32_t pack(const dn_low_filter *filter)
{
    for (int32_t c = 0; c < filter->channels; ++c)
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            const uint16_t w =
                round_float(filter->weights[c * filter->taps + tap] * filter->factor);
            memcpy(dn_low_place(filter, DN_BF16_IN_WORD, c, tap), &w, sizeof w);
        }
    return 0;
}

const dn_conv_low DN_ISA_NAME(dn_conv_low_bf16) = {
    .in_word = DN_BF16_IN_WORD,
    .cycles = DN_BF16_CYCLES,
    .most_inputs = INT32_MAX,
    .kernel = DN_ISA_NAME(dn_conv_tile_bf16),
    .padding = padding,
    .convert = convert,
    .pack = pack,
};
