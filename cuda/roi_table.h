/* The boxes of a [roialign] in device memory: where the points of each lie on each map, which cells
 * they touch, and which boxes are of one image, so that a cell meets only boxes that touch it. */
#ifndef DN_CUDA_ROI_TABLE_H
#define DN_CUDA_ROI_TABLE_H

#include "math/roialign.h"
#include "staging.h"

/* One box on one map. */
typedef struct dn_roi_place {
    dn_roi_grid grid;
    int32_t image;
    int32_t top, bottom, left, right; /* cells top..bottom-1, left..right-1 hold all it touches */
} dn_roi_place;

/* The pointers lead to device memory. */
typedef struct dn_roi_table {
    int32_t capacity, batch, per_image;
    dn_roi *rois;          /* (capacity): layer->rois */
    dn_roi_place *places;  /* (maps, capacity) */
    int32_t *starts;       /* (batch + 1): an image's boxes are starts[n]..starts[n + 1]-1 */
    int32_t *extra_starts; /* (capacity + 1), of boxes in extras; NULL: nobody reads them */
    dn_roi_extra *extras;  /* (extra_room): rois->extras */
    int32_t extra_room;
} dn_roi_table;

/* What a layer keeps. */
typedef struct dn_roi_memory {
    dn_roi_table table;
    dn_staging staging; /* rois, then starts */
    dn_staging extras;  /* extra_starts, then extras */
    bool asked;         /* for the boxes of this pass, which are on their way */
} dn_roi_memory;

/* For as many boxes as the layer may have, to be freed with dn_roi_memory_free (NULL is allowed).
 */
dn_status dn_roi_memory_make(const dn_layer *layer, dn_roi_memory **out);
void dn_roi_memory_free(dn_roi_memory *memory);

/* The boxes of this pass, layer->rois, and their extras where somebody reads them; but no places.
 */
dn_status dn_roi_table_fill(dn_roi_memory *memory, const dn_layer *layer);

/* The same from what the heads found, without the host: it gets the boxes, for layer->rois, in one
 * small copy, and the extras in another, which are asked for. Not memory->asked: the host has to
 * choose them. */
dn_status dn_roi_table_ask(dn_roi_memory *memory, const dn_layer *layer, const dn_pass *pass);

/* Waits for what was asked for. Not *chosen: as above. */
dn_status dn_roi_table_take(dn_roi_memory *memory, const dn_layer *layer, bool *chosen);

/* Their places. */
dn_status dn_roi_table_place(dn_roi_memory *memory, const dn_layer *layer, const dn_pass *pass);

/* What [roialign]'s forward does first, also for the inference plan (roialign.cu). The former asks
 * for the boxes of this pass, as soon as the heads are done, and waits for nothing; the latter has
 * them in layer->rois and in *table, which has no places yet. */
dn_status dn_roi_ask(dn_layer *layer, const dn_pass *pass);
dn_status dn_roi_boxes(dn_layer *layer, const dn_pass *pass, const dn_roi_table **table);

#endif
