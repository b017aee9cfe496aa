/* Darknet's resize, corners aligned, inside its letterbox: one value of a network's input. */
#ifndef DN_MATH_LETTERBOX_H
#define DN_MATH_LETTERBOX_H

#include "math/portable.h"

#define DN_LETTERBOX_FILL 0.5f /* around the image */

/* What an output column (or row) is made of: the source's column `first` and, where count is 2, the
 * next one; count 0: outside the image. */
typedef struct dn_tap {
    int32_t first, count;
    float weights[2];
} dn_tap;

/* Output sample `to` of an axis on which `source` samples become `size` samples, put at `pad`: its
 * position is i * (source - 1)/(size - 1), whose whole part is the left neighbour; the last sample
 * copies the last one of the source. */
DN_HD dn_tap dn_letterbox_tap(int32_t to, int32_t source, int32_t size, int32_t pad)
{
    const int32_t i = to - pad;
    dn_tap tap = {0, 0, {0.0f, 0.0f}};
    if (i < 0 || i >= size) return tap;
    const float scale = size > 1 ? (float)(source - 1) / (float)(size - 1) : 0.0f;
    const float position = (float)i * scale;
    const int32_t left = (int32_t)position;
    const float right_weight = position - (float)left;
    const bool last = i == size - 1 || source == 1 || left >= source - 1;
    tap.first = last ? source - 1 : left;
    tap.count = last ? 1 : 2;
    tap.weights[0] = last ? 1.0f : 1.0f - right_weight;
    tap.weights[1] = last ? 0.0f : right_weight;
    return tap;
}

/* A byte of an image as a value. */
DN_HD float dn_byte_value(uint8_t byte)
{
    return (float)byte / 255.0f;
}

/* Channel c of the output pixel of two taps; image: interleaved RGB rows of `width` pixels. First
 * along the rows, then down, as the loops of data/image_letterbox.c. */
DN_HD float dn_letterbox_value(const uint8_t *image, int32_t width, dn_tap across, dn_tap down,
                               int32_t c)
{
    float sum = down.count == 0 ? DN_LETTERBOX_FILL : 0.0f;
    for (int32_t j = 0; j < down.count; j++) {
        const uint8_t *row = image + (int64_t)(down.first + j) * width * 3;
        float value = across.count == 0 ? DN_LETTERBOX_FILL : 0.0f;
        for (int32_t k = 0; k < across.count; k++)
            value += across.weights[k] * dn_byte_value(row[(int64_t)(across.first + k) * 3 + c]);
        sum += down.weights[j] * value;
    }
    return sum;
}

#endif
