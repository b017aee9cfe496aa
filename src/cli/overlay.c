/* predictions.jpg: see overlay.h. Colours go round the hue circle by the golden angle, so that
 * neighbouring classes differ; objects of a network's only class have one each. */
#include "cli/overlay.h"

#include "core/memory.h"

#include <math.h>

static const float mask_share = 0.5f;

typedef struct colour {
    float channel[3]; /* 0..255 */
} colour;

static colour colour_of(int32_t number)
{
    const double hue = fmod(number * 0.61803398875, 1.0) * 6.0;
    colour result;
    for (int i = 0; i < 3; i++) {
        const double distance = fabs(fmod(hue + 2.0 * i, 6.0) - 3.0);
        result.channel[i] = (float)(55 + 200 * fmin(fmax(distance - 1.0, 0.0), 1.0));
    }
    return result;
}

static void blend(dn_image *image, int32_t x, int32_t y, colour paint, float share)
{
    if (x < 0 || y < 0 || x >= image->width || y >= image->height) return;
    uint8_t *pixel = image->data + 3 * ((int64_t)y * image->width + x);
    for (int i = 0; i < 3; i++)
        pixel[i] = (uint8_t)((1.0f - share) * (float)pixel[i] + share * paint.channel[i] + .5f);
}

static void fill(dn_image *image, int32_t x0, int32_t y0, int32_t x1, int32_t y1, colour paint)
{
    for (int32_t y = y0 < 0 ? 0 : y0; y < y1 && y < image->height; y++)
        for (int32_t x = x0 < 0 ? 0 : x0; x < x1 && x < image->width; x++)
            blend(image, x, y, paint, 1);
}

static int32_t pixel_of(float coordinate, int32_t limit)
{
    return (int32_t)fminf(fmaxf(roundf(coordinate), 0.0f), (float)limit);
}

static void draw_box(dn_image *image, const dn_box *box, colour paint)
{
    const int32_t longer = image->width > image->height ? image->width : image->height;
    const int32_t line = longer < 800 ? 2 : longer / 400;
    const int32_t x0 = pixel_of(box->x0, image->width), x1 = pixel_of(box->x1, image->width);
    const int32_t y0 = pixel_of(box->y0, image->height), y1 = pixel_of(box->y1, image->height);
    fill(image, x0, y0, x1, y0 + line, paint);
    fill(image, x0, y1 - line, x1, y1, paint);
    fill(image, x0, y0, x0 + line, y1, paint);
    fill(image, x1 - line, y0, x1, y1, paint);
}

/* Tints the mask and draws its edge in full colour. `bytes` is scratch, (height, width). */
static dn_status draw_mask(dn_image *image, const dn_result *result, const dn_instance *instance,
                           uint8_t *bytes, colour paint)
{
    const int32_t w = image->width, h = image->height;
    DN_TRY(dn_mask_paste_dense(bytes, instance->mask, result->mask_size, instance->mask_box, h, w,
                               .5f));
    for (int32_t y = 0; y < h; y++)
        for (int32_t x = 0; x < w; x++) {
            const uint8_t *at = bytes + (int64_t)y * w + x;
            if (!*at) continue;
            const bool edge = (x > 0 && !at[-1]) || (x + 1 < w && !at[1]) || (y > 0 && !at[-w]) ||
                              (y + 1 < h && !at[w]);
            blend(image, x, y, paint, edge ? 1.0f : mask_share);
        }
    return DN_OK;
}

dn_status dn_draw_result(dn_image *image, const dn_result *result, int32_t classes)
{
    uint8_t *bytes = dn_alloc((size_t)image->width * (size_t)image->height);
    dn_status status = bytes ? DN_OK : DN_ERROR_MEMORY;
    for (int32_t i = result->instance_count - 1; i >= 0 && status == DN_OK; i--) {
        const dn_instance *instance = &result->instances[i];
        const colour paint = colour_of(classes == 1 ? i : instance->class_id);
        if (instance->mask) status = draw_mask(image, result, instance, bytes, paint);
        draw_box(image, &instance->box, paint);
    }
    dn_free(bytes);
    return status;
}
