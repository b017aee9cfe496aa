/* [crop]: a crop_height x crop_width part of each image, every value x as 2x - 1 unless noadjust.
 *
 * In inference the part is the middle; in training it lies anywhere, drawn for each image, and
 * with flip=1 half of the images are mirrored. Backward is the transpose. Darknet's colour changes
 * and rotation here are done by the data loader ([net]'s keys) instead.
 */
#include "layers/crop.h"

#include "core/network.h"

#include <stdio.h>

typedef struct dn_crop_options {
    int32_t height, width;
    bool flip, noadjust;
} dn_crop_options;

#define S dn_crop_options
static const dn_option options[] = {
    DN_INT(S, height, "crop_height", 1, 1, 65536, "rows of the output"),
    DN_INT(S, width, "crop_width", 1, 1, 65536, "columns of the output"),
    DN_FLAG(S, flip, "flip", 0, "training: mirror half of the images"),
    DN_FLAG(S, noadjust, "noadjust", 0, "1: values stay as they are, not 2x - 1"),
    DN_IGNORED("angle", "accepted; no effect"),
    DN_IGNORED("saturation", "accepted; no effect"),
    DN_IGNORED("exposure", "accepted; no effect"),
    DN_IGNORED("shift", "accepted; no effect"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_crop_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    if (o->height > in->h || o->width > in->w)
        return dn_layer_fail(layer, network, "crop_width=%d x crop_height=%d of a %d x %d image",
                             o->width, o->height, in->w, in->h);
    return dn_set_output(layer, network, in->c, o->height, o->width);
}

dn_cut dn_cut_of(const dn_layer *layer, const dn_pass *pass)
{
    const dn_crop_options *o = layer->options;
    const dn_tensor *in = dn_input(layer, pass, 0);
    return (dn_cut){.h = in->h,
                    .w = in->w,
                    .out_h = o->height,
                    .out_w = o->width,
                    .factor = o->noadjust ? 1.0f : 2.0f,
                    .shift = o->noadjust ? 0.0f : -1.0f,
                    .anywhere = pass->training,
                    .flip = o->flip,
                    .seed = pass->seed,
                    .iteration = (uint64_t)pass->iteration,
                    .layer = layer->index};
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_tensor *in = dn_input(layer, pass, 0), *out = &layer->out;
    const dn_cut crop = dn_cut_of(layer, pass);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < (int64_t)dn_live(layer, pass) * out->c; plane++) {
        const dn_cut_place place = dn_cut_place_of(&crop, (int32_t)(plane / out->c));
        const float *from = in->data + plane * in->h * in->w;
        float *to = out->data + plane * out->h * out->w;
        for (int32_t y = 0; y < out->h; y++)
            for (int32_t x = 0; x < out->w; x++)
                to[y * out->w + x] =
                    crop.factor * from[dn_cut_source(&crop, place, y, x)] + crop.shift;
    }
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_tensor *in = dn_input(layer, pass, 0), *out = &layer->out;
    const dn_cut crop = dn_cut_of(layer, pass);
    if (!in->grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < (int64_t)dn_live(layer, pass) * out->c; plane++) {
        const dn_cut_place place = dn_cut_place_of(&crop, (int32_t)(plane / out->c));
        const float *from = out->grad + plane * out->h * out->w;
        float *to = in->grad + plane * in->h * in->w;
        for (int32_t y = 0; y < out->h; y++)
            for (int32_t x = 0; x < out->w; x++)
                to[dn_cut_source(&crop, place, y, x)] += crop.factor * from[y * out->w + x];
    }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    snprintf(text, size, "Crop Layer: %d x %d -> %d x %d x %d image", in->h, in->w, out->h, out->w,
             out->c);
}

const dn_layer_type dn_crop_layer = {
    .name = "crop",
    .options_size = sizeof(dn_crop_options),
    .options = options,
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
