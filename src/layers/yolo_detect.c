/* [yolo]: which boxes a head found. See yolo.c.
 *
 * Of a head's thousands of places few hold an object, so objectness is looked at before anything
 * else: row by row, where no value of a row is above the threshold nothing more is done. Where the
 * output waits (yolo.c), what is looked at is the value before the logistic, held against one
 * that is surely no higher than the threshold's; the entries of what remains are gathered and run
 * through the very logistic that makes the output, so that the boxes are the same bit for bit.
 */
#include "core/host.h"
#include "layers/yolo.h"

#include <math.h>

/* The computed logistic is off by less than this share of itself. */
#define DN_LOGISTIC_ERROR 1e-6

/* A value that no place with an objectness above the threshold stays below. */
static float lowest_value(const dn_yolo_options *o, bool before_logistic, float threshold)
{
    const double t = (double)threshold * (1.0 - DN_LOGISTIC_ERROR);
    if (!before_logistic || o->new_coords) return threshold;
    if (t < 1e-30) return -INFINITY; /* the logistic does not go down to 0: activation_vector.h */
    if (t >= 1.0) return INFINITY;
    return (float)(log(t / (1.0 - t)) - 1e-4); /* the float may be rounded up */
}

/* Written so that the compiler vectorises. */
static bool any_above(const float *values, int32_t count, float lowest)
{
    int32_t found = 0;
    for (int32_t i = 0; i < count; i++) found |= values[i] >= lowest;
    return found != 0;
}

typedef struct dn_yolo_search {
    const dn_layer *layer;
    const dn_pass *pass;
    int32_t image;
    const float *values; /* of the image, (slots, 5 + classes, h, w) */
    int64_t slot_size, plane;
    float lowest;
    dn_detections *detections;
} dn_yolo_search;

static const float *row_of(const dn_yolo_search *s, int32_t slot, int32_t row, int32_t entry)
{
    return s->values + slot * s->slot_size + entry * s->plane + (int64_t)row * s->layer->out.w;
}

/* The entries of one place, one after the other, as they are in the output. */
static const float *entries_of(const dn_yolo_search *s, int32_t slot, int32_t row, int32_t column)
{
    const dn_yolo_options *o = s->layer->options;
    const dn_yolo_state *state = s->layer->state;
    const int32_t count = DN_YOLO_CLASSES + o->classes;
    const float *cell = row_of(s, slot, row, 0) + column;
    for (int32_t k = 0; k < count; k++) state->entries[k] = cell[k * s->plane];
    if (!state->waits) return state->entries;
    dn_yolo_activate(o, state->entries, state->entries + count, 1);
    return state->entries + count;
}

static dn_status add_place(const dn_yolo_search *s, int32_t slot, int32_t row, int32_t column)
{
    const dn_yolo_options *o = s->layer->options;
    const dn_yolo_state *state = s->layer->state;
    const float *entries = entries_of(s, slot, row, column);
    const dn_candidate candidate = {
        .box = dn_yolo_box_of(&state->head, entries, 1, slot, row, column),
        .objectness = entries[DN_YOLO_OBJECTNESS],
        .image = s->image,
        .best_class = -1,
    };
    return dn_head_add_box(s->pass, candidate, entries + DN_YOLO_CLASSES, o->classes, 1,
                           s->detections);
}

static dn_status search_row(const dn_yolo_search *s, int32_t row)
{
    const dn_yolo_state *state = s->layer->state;
    const int32_t width = s->layer->out.w;
    bool any = false;
    for (int32_t a = 0; a < state->slots && !any; a++)
        any = any_above(row_of(s, a, row, DN_YOLO_OBJECTNESS), width, s->lowest);
    if (!any) return DN_OK;
    for (int32_t column = 0; column < width; column++)
        for (int32_t a = 0; a < state->slots; a++)
            if (row_of(s, a, row, DN_YOLO_OBJECTNESS)[column] >= s->lowest)
                DN_TRY(add_place(s, a, row, column));
    return DN_OK;
}

dn_status dn_yolo_detect(const dn_layer *layer, const dn_pass *pass, int32_t image,
                         dn_detections *detections)
{
    const dn_yolo_options *o = layer->options;
    const dn_yolo_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const float *values = dn_input(layer, pass, 0)->data;
    if (!state->waits) DN_TRY(dn_host_output(layer, pass, &values));
    const dn_yolo_search search = {
        .layer = layer,
        .pass = pass,
        .image = image,
        .values = values + dn_yolo_slot_offset(layer, image, 0),
        .slot_size = (DN_YOLO_CLASSES + o->classes) * plane,
        .plane = plane,
        .lowest = lowest_value(o, state->waits, pass->threshold),
        .detections = detections,
    };
    for (int32_t row = 0; row < layer->out.h; row++) DN_TRY(search_row(&search, row));
    return DN_OK;
}
