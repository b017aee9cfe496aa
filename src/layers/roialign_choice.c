/* Which RoIs a [roialign] pools, and which map is whose: see roialign.c. */
#include "layers/roialign.h"

#include "core/memory.h"
#include "core/network.h"
#include "core/roi_sampling.h"
#include "math/roi_choice.h"

static void assign_level(const dn_layer *layer, const dn_network *network, dn_roi *roi)
{
    const double wanted = dn_roi_wanted_stride(roi->expanded);
    dn_roi_fit fit = {.level = -1};
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_roi_map map = dn_roialign_map(layer, network, k);
        dn_roi_fit_map(&fit, wanted, &map, k);
    }
    roi->level = fit.level;
}

bool dn_roialign_asks_detector(const dn_layer *layer, const dn_pass *pass)
{
    return ((const dn_roialign *)layer->state)->given_count < 0 && !pass->training;
}

dn_status dn_roialign_choose(dn_layer *layer, const dn_pass *pass)
{
    const dn_roi_rules *rules = dn_roialign_rules(layer);
    dn_roialign *state = layer->state;
    dn_roi_set *set = &state->set;
    if (state->given_count >= 0) {
        set->count = 0;
        for (int32_t i = 0; i < state->given_count && state->given[i].image < pass->batch; i++)
            set->rois[set->count++] = state->given[i];
        if (!pass->training) DN_TRY(dn_roi_extras_of_given(pass, rules, layer->index, set));
    } else if (pass->training) {
        DN_TRY(dn_roi_from_truth(pass, rules, layer->index, set));
    } else {
        DN_TRY(dn_roi_from_detections(pass, rules, layer->index, set));
    }
    for (int32_t i = 0; i < set->count; i++) {
        set->rois[i].level = -1;
        if (dn_roialign_assigns(layer)) assign_level(layer, pass->network, &set->rois[i]);
    }
    return DN_OK;
}

dn_status dn_network_get_rois(const dn_network *network, const dn_roi **rois, int32_t *count)
{
    const int32_t index = dn_network_roialign(network);
    if (index < 0) return dn_fail(DN_ERROR_ARGUMENT, "%s: has no [roialign]", network->cfg->name);
    *rois = network->layers[index].rois->rois;
    *count = network->layers[index].rois->count;
    return DN_OK;
}

dn_status dn_test_set_rois(dn_network *network, const dn_roi *rois, int32_t count)
{
    const int32_t index = dn_network_roialign(network);
    if (index < 0) return dn_fail(DN_ERROR_ARGUMENT, "%s: has no [roialign]", network->cfg->name);
    const dn_layer *layer = &network->layers[index];
    dn_roialign *state = layer->state;
    dn_free(state->given);
    state->given = NULL;
    state->given_count = -1;
    if (count < 0) return DN_OK;
    if (count > state->set.capacity)
        return dn_fail(DN_ERROR_ARGUMENT, "%d RoIs: at most %d fit", count, state->set.capacity);
    for (int32_t i = 0; i < count; i++)
        if (rois[i].image < (i ? rois[i - 1].image : 0) || rois[i].image >= network->batch)
            return dn_fail(DN_ERROR_ARGUMENT, "RoI %d: image %d is not sorted or not in 0..%d", i,
                           rois[i].image, network->batch - 1);
    state->given = dn_alloc((size_t)count * sizeof *rois);
    if (!state->given) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < count; i++) {
        state->given[i] = rois[i];
        state->given[i].expanded = dn_box_expand(rois[i].box, dn_roialign_rules(layer)->expand);
    }
    state->given_count = count;
    return DN_OK;
}
