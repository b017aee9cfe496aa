/* Detections: the growable list. See detections.h. */
#include "core/detections.h"

#include "core/memory.h"

dn_status dn_detections_add(dn_detections *detections, dn_candidate candidate, float **probs_out)
{
    const size_t row = (size_t)detections->classes * sizeof(float);
    if (detections->count == detections->capacity) {
        const size_t old = (size_t)detections->capacity, wanted = old ? 2 * old : 256;
        dn_candidate *items =
            dn_realloc(detections->items, old * sizeof *items, wanted * sizeof *items);
        if (!items) return DN_ERROR_MEMORY;
        detections->items = items;
        float *probs = dn_realloc(detections->probs, old * row, wanted * row);
        if (!probs) return DN_ERROR_MEMORY;
        detections->probs = probs;
        detections->capacity = (int32_t)wanted;
    }
    *probs_out = detections->probs + (int64_t)detections->count * detections->classes;
    detections->items[detections->count++] = candidate;
    return DN_OK;
}

void dn_detections_free(dn_detections *detections)
{
    dn_free(detections->items);
    dn_free(detections->probs);
    dn_free(detections->scratch);
    *detections = (dn_detections){0};
}
