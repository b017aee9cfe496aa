/* [local_avgpool]: the mean of each window's samples inside the image; the windows: pool.h. */
#include "core/network.h"
#include "layers/pool.h"

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = layer->state;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    float *out = layer->out.data;                     /* (n, c, out_h, out_w) */
    const int64_t planes = (int64_t)dn_live(layer, pass) * layer->out.c;
    const int64_t plane_in = (int64_t)g->h * g->w, plane_out = (int64_t)g->out_h * g->out_w;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        for (int32_t y = 0; y < g->out_h; y++)
            for (int32_t x = 0; x < g->out_w; x++)
                out[plane * plane_out + y * g->out_w + x] =
                    dn_pool_average(g, in + plane * plane_in, y, x);
    return DN_OK;
}

/* Every sample of a window gets its share of the window's gradient. */
static void spread(const dn_pool_geometry *g, const float *grad, float *in_grad)
{
    for (int32_t out_y = 0; out_y < g->out_h; out_y++)
        for (int32_t out_x = 0; out_x < g->out_w; out_x++) {
            const dn_pool_window window = dn_pool_window_at(g, out_y, out_x);
            const float share =
                dn_mean_share(grad[out_y * g->out_w + out_x], dn_pool_window_size(&window));
            for (int32_t y = window.top; y < window.bottom; y++)
                for (int32_t x = window.left; x < window.right; x++) in_grad[y * g->w + x] += share;
        }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = layer->state;
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    if (!in_grad) return DN_OK;
    const int64_t planes = (int64_t)dn_live(layer, pass) * layer->out.c;
    const int64_t plane_in = (int64_t)g->h * g->w, plane_out = (int64_t)g->out_h * g->out_w;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        spread(g, layer->out.grad + plane * plane_out, in_grad + plane * plane_in);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    dn_pool_describe(layer, network, "avg", text, size);
}

const dn_layer_type dn_local_avgpool_layer = {
    .name = "local_avgpool",
    .aliases = {"local_avg"},
    .options_size = sizeof(dn_pool_options),
    .options = dn_pool_option_table,
    .state_size = sizeof(dn_pool_geometry),
    .setup = dn_pool_setup,
    .cpu = {forward, backward},
    .describe = describe,
};
