/* The classes of RoIs' boxes beside the RoIs' own that are instances (dn_roi_set.extras), on the
 * device: for a [mask] that computes single planes. */
#ifndef DN_CUDA_ROI_EXTRAS_H
#define DN_CUDA_ROI_EXTRAS_H

#include "roi_table.h"
#include "suppress.h"

/* The host's list to the device. */
dn_status dn_roi_extras_send(dn_roi_memory *memory, const dn_roi_set *set);

/* Lists them behind suppression, for the RoIs in the table, and asks for a copy. */
dn_status dn_roi_extras_choose(dn_roi_memory *memory, const dn_suppression *d);

/* set->extras of `rois` boxes from that copy; not *taken: there was too little room. */
dn_status dn_roi_extras_take(dn_roi_memory *memory, dn_roi_set *set, int32_t rois, bool *taken);

#endif
