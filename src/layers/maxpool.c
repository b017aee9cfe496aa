/* [maxpool]: the maximum of each window; the windows: pool.h.
 *
 * Backward adds the gradient to the first maximum in row-major order of the window, which is found
 * again there: nothing is saved.
 */
#include "math/maxpool.h"
#include "core/network.h"
#include "layers/pool.h"
#include "math/threads.h"

static dn_status setup(dn_layer *layer, dn_network *network)
{
    DN_TRY(dn_pool_setup(layer, network));
    layer->workspace_floats = network->options.threads * dn_maxpool_window_floats(layer->state);
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = layer->state;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    float *out = layer->out.data;                     /* (n, c, out_h, out_w) */
    const int64_t planes = (int64_t)dn_live(layer, pass) * layer->out.c;
    const int64_t plane_in = (int64_t)g->h * g->w, plane_out = (int64_t)g->out_h * g->out_w;
    const int64_t window_floats = dn_maxpool_window_floats(g);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        dn_maxpool_plane(g, in + plane * plane_in,
                         pass->workspace + dn_thread_number() * window_floats,
                         out + plane * plane_out);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    if (!in->grad) return DN_OK;
    const int64_t planes = (int64_t)dn_live(layer, pass) * layer->out.c;
    const int64_t plane_in = (int64_t)g->h * g->w, plane_out = (int64_t)g->out_h * g->out_w;
    const int64_t window_floats = dn_maxpool_window_floats(g);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        dn_maxpool_plane_backward(g, in->data + plane * plane_in,
                                  pass->workspace + dn_thread_number() * window_floats,
                                  layer->out.grad + plane * plane_out, in->grad + plane * plane_in);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    dn_pool_describe(layer, network, "max", text, size);
}

const dn_layer_type dn_maxpool_layer = {
    .name = "maxpool",
    .aliases = {"max"},
    .options_size = sizeof(dn_pool_options),
    .options = dn_pool_option_table,
    .state_size = sizeof(dn_pool_geometry),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
