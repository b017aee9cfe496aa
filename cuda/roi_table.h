/* The boxes of a [roialign] in device memory: where the points of each lie on each map, which cells
 * they touch, and which boxes are of one image, so that a cell meets only boxes that touch it. */
#ifndef DN_CUDA_ROI_TABLE_H
#define DN_CUDA_ROI_TABLE_H

#include "core/backend.h"
#include "math/roialign.h"

/* One box on one map. */
typedef struct dn_roi_place {
    dn_roi_grid grid;
    int32_t image;
    int32_t top, bottom, left, right; /* cells top..bottom-1, left..right-1 hold all it touches */
} dn_roi_place;

/* The pointers lead to device memory. */
typedef struct dn_roi_table {
    int32_t capacity, batch;
    dn_roi *rois;         /* (capacity): layer->rois, copied */
    dn_roi_place *places; /* (maps, capacity) */
    int32_t *starts;      /* (batch + 1): an image's boxes are starts[n]..starts[n + 1]-1 */
} dn_roi_table;

/* For as many boxes as the layer may have, to be freed with dn_roi_table_free (NULL is allowed). */
dn_status dn_roi_table_make(const dn_layer *layer, dn_roi_table **out);
void dn_roi_table_free(dn_roi_table *table);

/* The boxes of this pass, layer->rois. */
dn_status dn_roi_table_fill(const dn_roi_table *table, const dn_layer *layer, const dn_pass *pass);

#endif
