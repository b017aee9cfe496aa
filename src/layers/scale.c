/* Products of a map with scales, forward and backward: see scale.h. */
#include "layers/scale.h"

#include "core/network.h"
#include "math/activation.h"

dn_status dn_scale_connect(dn_layer *layer, dn_network *network)
{
    const dn_scale_options *o = layer->options;
    if (o->from == DN_SCALE_NO_LAYER) return dn_layer_fail(layer, network, "from= is missing");
    DN_TRY(dn_add_input(layer, network, -1));
    return dn_add_input(layer, network, o->from);
}

dn_status dn_scale_setup(dn_layer *layer, const dn_network *network, dn_scale_kind kind)
{
    const dn_tensor *scales = dn_input_shape(layer, network, 0);
    const dn_tensor *map = dn_input_shape(layer, network, 1);
    dn_scale_geometry *g = layer->state;
    *g = (dn_scale_geometry){kind, map->c, (int64_t)map->h * map->w};
    const int32_t c = kind == DN_SCALE_PIXEL ? 1 : map->c;
    const int32_t h = kind == DN_SCALE_CHANNEL ? 1 : map->h;
    const int32_t w = kind == DN_SCALE_CHANNEL ? 1 : map->w;
    if (scales->c != c || scales->h != h || scales->w != w)
        return dn_layer_fail(layer, network,
                             "layer %d is %d x %d x %d: the layer before must be %d x %d x %d, "
                             "not %d x %d x %d (w x h x c)",
                             layer->inputs[1], map->w, map->h, map->c, w, h, c, scales->w,
                             scales->h, scales->c);
    return dn_set_output(layer, network, map->c, map->h, map->w);
}

dn_status dn_scale_forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_scale_options *o = layer->options;
    const dn_scale_geometry *g = layer->state;
    const float *scales = dn_input(layer, pass, 0)->data;
    const float *map = dn_input(layer, pass, 1)->data; /* (n, c, h, w) */
    const int64_t rows = (int64_t)dn_live(layer, pass) * g->c;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < rows; row++) {
        const float *from = map + row * g->plane;
        float *out = layer->out.data + row * g->plane;
        for (int64_t i = 0; i < g->plane; i++) out[i] = from[i] * scales[dn_scale_index(g, row, i)];
        dn_activate_array((dn_activation)o->activation, out, out, g->plane);
    }
    return DN_OK;
}

/* out.grad becomes the gradient of the product, which is computed again. */
static void backward_activation(const dn_layer *layer, const dn_pass *pass)
{
    const dn_scale_options *o = layer->options;
    const dn_scale_geometry *g = layer->state;
    const dn_activation kind = (dn_activation)o->activation;
    const float *scales = dn_input(layer, pass, 0)->data;
    const float *map = dn_input(layer, pass, 1)->data;
    if (kind == DN_ACTIVATION_linear) return;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < (int64_t)dn_live(layer, pass) * g->c; row++)
        for (int64_t i = 0; i < g->plane; i++) {
            const int64_t at = row * g->plane + i;
            const float product = map[at] * scales[dn_scale_index(g, row, i)];
            layer->out.grad[at] *= dn_activation_gradient(kind, product, layer->out.data[at]);
        }
}

/* One image's scales: each is written by one thread, which adds up what it touched. */
static void backward_scales(const dn_layer *layer, const dn_pass *pass, int64_t image)
{
    const dn_scale_geometry *g = layer->state;
    const float *map = dn_input(layer, pass, 1)->data;
    float *scales_grad = dn_input(layer, pass, 0)->grad;
    const int64_t first = image * g->c;
    if (g->kind == DN_SCALE_PIXEL) {
#pragma omp parallel for num_threads(pass->threads)
        for (int64_t i = 0; i < g->plane; i++) {
            double sum = 0;
            for (int64_t row = first; row < first + g->c; row++) {
                const int64_t at = row * g->plane + i;
                sum += (double)(layer->out.grad[at] * map[at]);
            }
            scales_grad[dn_scale_index(g, first, i)] += (float)sum;
        }
        return;
    }
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = first; row < first + g->c; row++) {
        double sum = 0;
        for (int64_t i = 0; i < g->plane; i++) {
            const int64_t at = row * g->plane + i;
            const float product = layer->out.grad[at] * map[at];
            if (g->kind == DN_SCALE_VALUE) scales_grad[at] += product;
            sum += (double)product;
        }
        if (g->kind == DN_SCALE_CHANNEL) scales_grad[row] += (float)sum;
    }
}

dn_status dn_scale_backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_scale_geometry *g = layer->state;
    const dn_tensor *scales = dn_input(layer, pass, 0), *map = dn_input(layer, pass, 1);
    backward_activation(layer, pass);
    if (scales->grad)
        for (int64_t image = 0; image < dn_live(layer, pass); image++)
            backward_scales(layer, pass, image);
    if (!map->grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < (int64_t)dn_live(layer, pass) * g->c; row++)
        for (int64_t i = 0; i < g->plane; i++) {
            const int64_t at = row * g->plane + i;
            map->grad[at] += layer->out.grad[at] * scales->data[dn_scale_index(g, row, i)];
        }
    return DN_OK;
}
