/* A pass whose end nobody waits for. See flight.h. */
#include "infer/flight.h"

#include "core/mask_device.h"
#include "core/memory.h"
#include "infer/forward.h"
#include "math/clock.h"

#include <string.h>

dn_status dn_flight_make(dn_flight *flight, const dn_network *network, int32_t batch,
                         const dn_input_rule *rule, const dn_predict_options *options)
{
    const dn_marks *marks = network->backend->marks;
    *flight = (dn_flight){
        .backend = network->backend, .rule = rule, .options = options, .device = network->device};
    flight->lists = dn_alloc((size_t)batch * sizeof *flight->lists);
    if (!flight->lists) return DN_ERROR_MEMORY;
    return marks ? marks->make(&flight->mark) : DN_OK;
}

static void free_lists(dn_flight *flight)
{
    for (int32_t i = 0; i < flight->count; i++) dn_free(flight->lists[i].requests);
    flight->count = 0;
}

void dn_flight_free(dn_flight *flight)
{
    if (!flight->backend) return;
    if (flight->flying) flight->backend->marks->wait(flight->mark);
    free_lists(flight);
    dn_free(flight->lists);
    flight->backend->free_host(flight->masks);
    if (flight->paster) flight->backend->masks->free(flight->paster);
    if (flight->survivors) flight->backend->survivors->free(flight->survivors);
    if (flight->mark) flight->backend->marks->free(flight->mark);
    *flight = (dn_flight){0};
}

static dn_status reserve(dn_flight *flight, int64_t floats)
{
    void *memory;
    if (floats <= flight->mask_floats) return DN_OK;
    floats *= 2; /* once more would be to ask the driver, and to wait for the device */
    DN_TRY(flight->backend->alloc_host((size_t)floats * sizeof *flight->masks, &memory));
    flight->backend->free_host(flight->masks);
    flight->masks = memory;
    flight->mask_floats = floats;
    return DN_OK;
}

/* Whether one copy of [mask]'s output has all that was asked for. */
static bool can_wait(const dn_flight *flight, const dn_layer *layer)
{
    if (!flight->mark) return false;
    for (int32_t i = 0; i < flight->count; i++)
        for (int32_t k = 0; k < flight->lists[i].count; k++)
            if (!dn_mask_is_in_output(layer, &flight->lists[i].requests[k])) return false;
    return true;
}

static dn_status bring_masks(dn_flight *flight, const dn_layer *layer)
{
    const int64_t cells = dn_tensor_size(&layer->out), live = layer->rois->count;
    if (live == 0) return DN_OK;
    DN_TRY(reserve(flight, layer->rois->capacity * cells));
    flight->cells = (int32_t)cells;
    flight->due = true;
    return flight->backend->bring(flight->masks, layer->out.data,
                                  (size_t)(live * cells) * sizeof *flight->masks);
}

static dn_status take_masks(const dn_flight *flight, dn_network *network, const dn_layer *layer)
{
    for (int32_t i = 0; i < flight->count; i++) {
        const dn_mask_list *list = &flight->lists[i];
        dn_result *result = flight->results[i];
        if (list->count > 0)
            DN_TRY(dn_masks_of(layer, network, list->requests, list->count, result->masks));
        dn_masks_score(result);
    }
    return DN_OK;
}

static dn_letterbox letterbox_of(const dn_flight *flight, int32_t image)
{
    const dn_result *result = flight->results[image];
    return dn_input_letterbox(flight->rule, result->width, result->height);
}

static dn_status find_boxes(const dn_flight *flight, dn_network *network, const dn_layer *layer)
{
    for (int32_t i = 0; i < flight->count; i++) {
        dn_result *result = flight->results[i];
        const dn_letterbox letterbox = letterbox_of(flight, i);
        DN_TRY(dn_predict_find(network, i, &letterbox, flight->options, result));
        if (layer && flight->options->masks == DN_MASKS_PROBABILITIES)
            DN_TRY(dn_masks_place(layer, i, &letterbox, result, &flight->lists[i]));
    }
    return DN_OK;
}

static dn_status keep_masks(dn_flight *flight, dn_network *network)
{
    int64_t instances = 0;
    for (int32_t i = 0; i < flight->count; i++) instances += flight->results[i]->instance_count;
    DN_TRY(reserve(flight, instances));
    flight->kept = true;
    return dn_begin_kept(network, flight->options, flight->results, flight->count, flight->masks);
}

static dn_status find_masks(dn_flight *flight, dn_network *network, const dn_layer *layer)
{
    const dn_predict_options *options = flight->options;
    if (options->masks == DN_MASKS_ON_DEVICE && layer && flight->mark)
        return keep_masks(flight, network);
    if (options->masks == DN_MASKS_RLE && flight->mark)
        DN_TRY(dn_begin_strings(network, &flight->paster, options, flight->results, flight->count,
                                &flight->strings));
    if (flight->strings) return DN_OK;
    if (options->masks != DN_MASKS_PROBABILITIES)
        return dn_give_masks(network, 0, flight->count, options, flight->results);
    if (!layer) return DN_OK;
    return can_wait(flight, layer) ? bring_masks(flight, layer)
                                   : take_masks(flight, network, layer);
}

/* A detector's boxes, where nobody has to wait for them. */
static dn_status ask_for_boxes(dn_flight *flight, const dn_network *network)
{
    const dn_survivor_device *device = flight->backend->survivors;
    if (!device || dn_network_roialign(network) >= 0) return DN_OK;
    return device->ask(network, &network->pass, network->layer_count, &flight->survivors,
                       &flight->boxes);
}

static dn_status find(dn_flight *flight, dn_network *network, bool waits)
{
    const dn_layer *layer = dn_mask_layer_of(network);
    if (!waits) DN_TRY(ask_for_boxes(flight, network));
    if (flight->boxes) return DN_OK;
    DN_TRY(find_boxes(flight, network, layer));
    return find_masks(flight, network, layer);
}

/* What others ask the network for comes behind this pass, whichever thread it is. */
static dn_status leave_behind(dn_flight *flight, dn_network *network)
{
    const dn_marks *marks = flight->backend->marks;
    if (!flight->mark) return DN_OK;
    flight->flying = true;
    DN_TRY(marks->set(flight->mark));
    if (!network->behind) DN_TRY(marks->make(&network->behind));
    return marks->set(network->behind);
}

static void expect_nothing(dn_flight *flight)
{
    flight->boxes = flight->due = flight->strings = flight->kept = flight->flying = false;
}

static dn_status fly(dn_flight *flight, dn_network *network, bool waits)
{
    const double start = dn_now();
    dn_pass pass = {.batch = flight->count,
                    .threshold = flight->options->threshold,
                    .nms = flight->options->nms,
                    .goes_on = flight->mark != NULL};
    expect_nothing(flight);
    network->branch_seconds = 0.0;
    memset(flight->lists, 0, (size_t)flight->count * sizeof *flight->lists);
    dn_status status = dn_infer(network, &pass);
    const double ran = dn_now();
    if (status == DN_OK) status = find(flight, network, waits);
    if (status == DN_OK) status = leave_behind(flight, network);
    if (status != DN_OK) {
        flight->backend->synchronise(); /* its input may be written anew; the failure is told */
        expect_nothing(flight);
    }
    flight->network_seconds = ran - start;
    flight->find_seconds = dn_now() - ran;
    for (int32_t i = 0; i < flight->count; i++)
        flight->results[i]->branch_ms = 1e3 * network->branch_seconds / flight->count;
    return status;
}

dn_status dn_flight_begin(dn_flight *flight, dn_network *network, dn_result **results,
                          int32_t count)
{
    free_lists(flight);
    flight->results = results;
    flight->count = count;
    return fly(flight, network, false);
}

/* ---- the end ---- */

static dn_status give_boxes(const dn_flight *flight, bool *again)
{
    const dn_survivor_device *device = flight->backend->survivors;
    *again = !device->are_there(flight->survivors);
    for (int32_t i = 0; i < flight->count && !*again; i++) {
        const dn_letterbox letterbox = letterbox_of(flight, i);
        int32_t count;
        const dn_survivor *kept = device->of_image(flight->survivors, i, &count);
        DN_TRY(dn_predict_list(kept, count, &flight->rule->shape, &letterbox, flight->options,
                               flight->results[i]));
    }
    return DN_OK;
}

static void give_masks(const dn_flight *flight)
{
    const size_t cells = (size_t)flight->cells, bytes = cells * sizeof *flight->masks;
    for (int32_t i = 0; i < flight->count; i++) {
        const dn_mask_list *list = &flight->lists[i];
        for (int32_t k = 0; k < list->count; k++)
            memcpy(flight->results[i]->masks + (size_t)k * cells,
                   flight->masks + (size_t)list->requests[k].roi * cells, bytes);
        dn_masks_score(flight->results[i]);
    }
}

static dn_status take_strings(const dn_flight *flight)
{
    DN_TRY(flight->backend->select(flight->device)); /* another thread may have begun */
    return dn_end_strings(flight->backend, flight->paster, flight->results, flight->count);
}

/* What is on its way, when the mark was reached. */
static dn_status take(dn_flight *flight, bool *again)
{
    if (flight->boxes) return give_boxes(flight, again);
    if (flight->strings) return take_strings(flight);
    if (flight->kept) dn_end_kept(flight->results, flight->count, flight->masks);
    if (flight->due) give_masks(flight);
    return DN_OK;
}

dn_status dn_flight_end(dn_flight *flight, bool *again)
{
    const double start = dn_now();
    *again = false;
    dn_status status = flight->flying ? flight->backend->marks->wait(flight->mark) : DN_OK;
    const double there = dn_now();
    if (status == DN_OK) status = take(flight, again);
    expect_nothing(flight);
    if (*again) return status;
    flight->network_seconds += there - start;
    flight->find_seconds += dn_now() - there;
    for (int32_t i = 0; i < flight->count; i++) {
        flight->results[i]->network_ms = 1e3 * flight->network_seconds / flight->count;
        flight->results[i]->postprocess_ms = 1e3 * flight->find_seconds / flight->count;
    }
    free_lists(flight);
    return status;
}

dn_status dn_flight_again(dn_flight *flight, dn_network *network)
{
    bool again;
    DN_TRY(fly(flight, network, true));
    return dn_flight_end(flight, &again);
}
