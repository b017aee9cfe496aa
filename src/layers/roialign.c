/* [roialign]: the detector's boxes, pooled from feature maps to size x size bins (He et al. 2017).
 *
 * The layers named by `layers` agree in channels. Boxes come from all heads before this layer, in
 * training from the truth too (roialign_choice.c, core/roi_sampling.c); each is enlarged about its
 * centre and pooled (math/roialign.h) from every map, the results added (levels=sum), or from the
 * one map whose stride fits its size (levels=assign): argmin |log2(stride) - log2(sqrt(w h) / 14)|,
 * ties to the finer map, so that a bin of a 14 x 14 pool covers about a cell.
 *
 * Output: (RoIs, channels, size, size); what follows runs on the live RoIs of all images as one
 * batch. Backward: to the maps, none to the boxes; nothing is saved, the maximum's winners are
 * found again.
 */
#include "layers/roialign.h"

#include "core/memory.h"
#include "core/network.h"
#include "math/threads.h"

#include <stdio.h>
#include <string.h>

typedef enum dn_roi_pool_kind { DN_ROI_MAX, DN_ROI_AVERAGE } dn_roi_pool_kind;
typedef enum dn_roi_levels { DN_ROI_SUM, DN_ROI_ASSIGN } dn_roi_levels;

static const char *const pool_names[] = {"max", "average", NULL};
static const char *const levels_names[] = {"sum", "assign", NULL};

typedef struct dn_roialign_options {
    dn_ints layers;
    int32_t size, samples, pool, levels;
    dn_roi_rules rules;
} dn_roialign_options;

#define S dn_roialign_options
static const dn_option options[] = {
    DN_INTS(S, layers, "layers", 0, 0, "maps to pool from; negative: counted back from here"),
    DN_INT(S, size, "size", 14, 1, 64, "bins on each axis"),
    DN_INT(S, samples, "samples", 2, 1, 8, "points of a bin on each axis"),
    DN_CHOICE(S, pool, "pool", DN_ROI_MAX, pool_names, "of a bin's points"),
    DN_CHOICE(S, levels, "levels", DN_ROI_SUM, levels_names,
              "sum: from every map, added; assign: from the map that fits the box's size"),
    DN_INT(S, rules.max_rois, "max_rois", 100, 1, 10000, "boxes of an image, the best ones"),
    DN_INT(S, rules.train_rois, "train_rois", 16, 1, 4096, "boxes of an image in training"),
    DN_FLOAT(S, rules.expand, "expand", .2, 0, 4, "boxes are enlarged by this share"),
    DN_FLOAT(S, rules.score_thresh, "score_thresh", .05, 0, 2,
             "smallest score of a box; above 1: training takes truth boxes only"),
    DN_FLOAT(S, rules.nms, "nms", .45, 0, 1, "boxes that overlap more are suppressed"),
    DN_FLOAT(S, rules.positive_iou, "positive_iou", .5, 0, 1,
             "training: overlap of a detector's box with its truth"),
    DN_FLOAT(S, rules.box_jitter, "box_jitter", .06, 0, 1,
             "training: how far the sides of a truth box's copy shift; 0: no copies"),
    DN_OPTIONS_END,
};
#undef S

const dn_roi_rules *dn_roialign_rules(const dn_layer *layer)
{
    return &((const dn_roialign_options *)layer->options)->rules;
}

static dn_status connect(dn_layer *layer, dn_network *network)
{
    const dn_roialign_options *o = layer->options;
    dn_roialign *state = layer->state;
    if (o->layers.count == 0) return dn_layer_fail(layer, network, "layers= is missing");
    for (int32_t i = 0; i < o->layers.count; i++) {
        DN_TRY(dn_add_input(layer, network, o->layers.items[i]));
        const int32_t index = layer->inputs[i];
        if (index >= 0 && network->layers[index].rois)
            return dn_layer_fail(
                layer, network, "layer %d holds RoIs; boxes are pooled from maps of images", index);
    }
    state->given_count = -1;
    layer->rois = &state->set;
    return DN_OK;
}

static dn_status check_maps(const dn_layer *layer, const dn_network *network)
{
    const dn_tensor *first = dn_input_shape(layer, network, 0);
    for (int32_t k = 1; k < layer->input_count; k++) {
        const dn_tensor *other = dn_input_shape(layer, network, k);
        if (other->c != first->c)
            return dn_layer_fail(layer, network,
                                 "layer %d has %d channels, layer %d has %d: the maps must agree "
                                 "(a 1x1 convolution before them helps)",
                                 layer->inputs[0], first->c, layer->inputs[k], other->c);
    }
    return DN_OK;
}

static dn_status place_rois(dn_layer *layer, const dn_network *network)
{
    dn_roialign *state = layer->state;
    const dn_roi_rules *rules = dn_roialign_rules(layer);
    dn_roi_set *set = &state->set;
    if (set->rois) return DN_OK; /* batch and stage never change */
    set->per_image = layer->trains ? rules->train_rois : rules->max_rois;
    int64_t capacity;
    if (dn_product(&capacity, INT32_MAX / 2, set->per_image, network->batch, 1, 1) != DN_OK)
        return dn_layer_fail(layer, network, "%d RoIs of %d images are too many", set->per_image,
                             network->batch);
    set->rois = dn_alloc((size_t)capacity * sizeof *set->rois);
    set->drawn = dn_alloc(2 * (size_t)set->per_image * sizeof *set->drawn);
    if (!set->rois || !set->drawn) return DN_ERROR_MEMORY;
    set->capacity = (int32_t)capacity;
    return DN_OK;
}

dn_roi_pool dn_roialign_pool(const dn_layer *layer)
{
    const dn_roialign_options *o = layer->options;
    return (dn_roi_pool){.channels = layer->out.c,
                         .size = o->size,
                         .samples = o->samples,
                         .maximum = o->pool == DN_ROI_MAX};
}

dn_roi_map dn_roialign_map(const dn_layer *layer, const dn_network *network, int32_t level)
{
    const dn_tensor *in = dn_input_shape(layer, network, level);
    return (dn_roi_map){.h = in->h,
                        .w = in->w,
                        .scale_x = (float)in->w / (float)network->input.w,
                        .scale_y = (float)in->h / (float)network->input.h};
}

/* Floats of one thread's scratch: the largest map's, and a RoI with its channels last. */
static int64_t scratch_floats(const dn_layer *layer, const dn_network *network)
{
    const dn_roi_pool pool = dn_roialign_pool(layer);
    int64_t most = 0;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_roi_map map = dn_roialign_map(layer, network, k);
        const int64_t floats = dn_roi_pool_scratch(&pool, &map);
        if (floats > most) most = floats;
    }
    return most + dn_tensor_size(&layer->out);
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_roialign_options *o = layer->options;
    dn_head_info head;
    if (dn_network_head(network, layer->index, &head) != DN_OK)
        return dn_layer_fail(layer, network, "no [yolo] or [region] before it finds boxes");
    DN_TRY(check_maps(layer, network));
    DN_TRY(place_rois(layer, network));
    DN_TRY(dn_set_output(layer, network, dn_input_shape(layer, network, 0)->c, o->size, o->size));
    layer->workspace_floats = network->options.threads * scratch_floats(layer, network);
    for (int32_t k = 0; k < layer->input_count; k++)
        layer->workspace_floats += dn_tensor_size(dn_input_shape(layer, network, k));
    return DN_OK;
}

bool dn_roialign_assigns(const dn_layer *layer)
{
    return ((const dn_roialign_options *)layer->options)->levels == DN_ROI_ASSIGN;
}

/* One image's maps with their channels last, one after the other. */
static void turn_maps(const dn_layer *layer, const dn_pass *pass, int32_t image, float *to)
{
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input(layer, pass, k);
        dn_roi_channels_last(in->data + image * dn_tensor_size(in), in->c, (int64_t)in->h * in->w,
                             pass->threads, to);
        to += dn_tensor_size(in);
    }
}

/* maps: the RoI's image's, from turn_maps. */
static void pool_roi(const dn_layer *layer, const dn_pass *pass, const dn_roi *roi,
                     const float *maps, float *scratch, float *out)
{
    const dn_roi_pool pool = dn_roialign_pool(layer);
    const float box[4] = {roi->expanded.x0, roi->expanded.y0, roi->expanded.x1, roi->expanded.y1};
    const int64_t bins = (int64_t)layer->out.h * layer->out.w;
    float *pooled = scratch; /* (size, size, channels) */
    scratch += bins * pool.channels;
    memset(pooled, 0, (size_t)(bins * pool.channels) * sizeof *pooled);
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_roi_map map = dn_roialign_map(layer, pass->network, k);
        if (roi->level < 0 || roi->level == k)
            dn_roi_pool_forward(&pool, &map, box, maps, scratch, pooled);
        maps += (int64_t)map.h * map.w * pool.channels;
    }
    for (int32_t c = 0; c < pool.channels; c++)
        for (int64_t i = 0; i < bins; i++) out[c * bins + i] = pooled[i * pool.channels + c];
}

/* The RoI behind those of the image of RoI `first`. */
static int32_t end_of_image(const dn_roi_set *set, int32_t first)
{
    int32_t last = first;
    while (last < set->count && set->rois[last].image == set->rois[first].image) last++;
    return last;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    DN_TRY(dn_roialign_choose(layer, pass));
    const dn_roi_set *set = layer->rois;
    const int64_t scratch_size = scratch_floats(layer, pass->network);
    float *maps = pass->workspace + pass->threads * scratch_size;
    for (int32_t first = 0, last; first < set->count; first = last) {
        last = end_of_image(set, first);
        turn_maps(layer, pass, set->rois[first].image, maps);
#pragma omp parallel for num_threads(pass->threads) schedule(dynamic)
        for (int32_t r = first; r < last; r++)
            pool_roi(layer, pass, &set->rois[r], maps,
                     pass->workspace + dn_thread_number() * scratch_size,
                     layer->out.data + r * dn_tensor_size(&layer->out));
    }
    return DN_OK;
}

/* The gradients of channels first..last-1 of all maps, RoI after RoI. */
static void backward_channels(const dn_layer *layer, const dn_pass *pass, int32_t first,
                              int32_t last, float *scratch)
{
    const dn_roi_pool pool = dn_roialign_pool(layer);
    for (int32_t r = 0; r < layer->rois->count; r++) {
        const dn_roi *roi = &layer->rois->rois[r];
        const dn_box e = roi->expanded;
        const float box[4] = {e.x0, e.y0, e.x1, e.y1};
        for (int32_t k = 0; k < layer->input_count; k++) {
            const dn_tensor *in = dn_input(layer, pass, k);
            if (!in->grad || (roi->level >= 0 && roi->level != k)) continue;
            const dn_roi_map map = dn_roialign_map(layer, pass->network, k);
            const int64_t image = roi->image * dn_tensor_size(in);
            dn_roi_pool_backward(&pool, &map, box, in->data + image,
                                 layer->out.grad + r * dn_tensor_size(&layer->out), first, last,
                                 scratch, in->grad + image);
        }
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t scratch_size = scratch_floats(layer, pass->network);
    const int64_t channels = layer->out.c, parts = pass->threads;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t part = 0; part < parts; part++)
        backward_channels(layer, pass, (int32_t)(channels * part / parts),
                          (int32_t)(channels * (part + 1) / parts),
                          pass->workspace + part * scratch_size);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_roialign_options *o = layer->options;
    const dn_tensor *out = &layer->out;
    (void)network;
    size_t used = (size_t)snprintf(text, size, "roialign ");
    for (int32_t k = 0; k < layer->input_count && used < size; k++)
        used += (size_t)snprintf(text + used, size - used, k ? ",%d" : "%d", layer->inputs[k]);
    if (used < size)
        snprintf(text + used, size - used, " %s   ->  %4d x%4d x%4d", pool_names[o->pool], out->w,
                 out->h, out->c);
}

static void destroy(dn_layer *layer)
{
    dn_roialign *state = layer->state;
    dn_free(state->set.rois);
    dn_free(state->set.drawn);
    dn_free(state->set.targets);
    dn_free(state->set.extras);
    dn_free(state->given);
}

const dn_layer_type dn_roialign_layer = {
    .name = "roialign",
    .options_size = sizeof(dn_roialign_options),
    .options = options,
    .state_size = sizeof(dn_roialign),
    .connect = connect,
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
    .destroy = destroy,
};

const dn_roi_set *dn_roialign_set(const dn_layer *layer)
{
    return layer->type == &dn_roialign_layer ? &((const dn_roialign *)layer->state)->set : NULL;
}
