/* [upsample]: every value becomes a stride x stride block (nearest neighbour). A negative stride is
 * the transpose: every block becomes its sum. Both times `scale`. */
#include "layers/upsample.h"

#include "core/network.h"

#include <stdio.h>

#define S dn_upsample_options
static const dn_option options[] = {
    DN_INT(S, stride, "stride", 2, -1024, 1024, "factor; negative: sums of blocks"),
    DN_FLOAT(S, scale, "scale", 1, -1e6, 1e6, "multiplies every value"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_upsample_options *o = layer->options;
    dn_upsample_geometry *g = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const int32_t factor = o->stride < 0 ? -o->stride : o->stride;
    if (factor == 0) return dn_layer_fail(layer, network, "stride=0");
    *g = (dn_upsample_geometry){in->h, in->w, factor, o->scale};
    if (o->stride > 0)
        return dn_set_output(layer, network, in->c, (int64_t)in->h * factor,
                             (int64_t)in->w * factor);
    if (in->h % factor != 0 || in->w % factor != 0)
        return dn_layer_fail(layer, network, "stride=%d does not divide %d x %d", o->stride, in->w,
                             in->h);
    g->h = in->h / factor;
    g->w = in->w / factor;
    return dn_set_output(layer, network, in->c, g->h, g->w);
}

/* large = (or += where `add`) the spread small values, rows of w. */
static void spread(const dn_upsample_geometry *g, const float *small, float *large, int64_t rows,
                   bool add, int32_t threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++)
        for (int32_t x = 0; x < g->w; x++)
            dn_upsample_spread(g, small[row * g->w + x], large + dn_upsample_block(g, row, x), add);
}

/* small = (or += where `add`) the sums of the large planes' blocks. */
static void collect(const dn_upsample_geometry *g, const float *large, float *small, int64_t rows,
                    bool add, int32_t threads)
{
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++)
        for (int32_t x = 0; x < g->w; x++) {
            const float value = dn_upsample_collect(g, large + dn_upsample_block(g, row, x));
            float *to = small + row * g->w + x;
            *to = add ? *to + value : value;
        }
}

static int64_t small_rows(const dn_layer *layer, const dn_pass *pass)
{
    const dn_upsample_geometry *g = layer->state;
    return (int64_t)dn_live(layer, pass) * layer->out.c * g->h;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_upsample_options *o = layer->options;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    if (o->stride > 0)
        spread(layer->state, in, layer->out.data, small_rows(layer, pass), false, pass->threads);
    else
        collect(layer->state, in, layer->out.data, small_rows(layer, pass), false, pass->threads);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_upsample_options *o = layer->options;
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    if (!in_grad) return DN_OK;
    if (o->stride > 0)
        collect(layer->state, layer->out.grad, in_grad, small_rows(layer, pass), true,
                pass->threads);
    else
        spread(layer->state, layer->out.grad, in_grad, small_rows(layer, pass), true,
               pass->threads);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_upsample_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    snprintf(text, size, "%s         %2dx  %4d x%4d x%4d   ->  %4d x%4d x%4d",
             o->stride > 0 ? "upsample  " : "downsample", o->stride > 0 ? o->stride : -o->stride,
             in->w, in->h, in->c, out->w, out->h, out->c);
}

const dn_layer_type dn_upsample_layer = {
    .name = "upsample",
    .options_size = sizeof(dn_upsample_options),
    .options = options,
    .state_size = sizeof(dn_upsample_geometry),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
