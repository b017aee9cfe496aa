/* RoIAlign on blocked maps; see kernels.h. */
#ifndef DN_BLOCKED_ROI_BINS_H
#define DN_BLOCKED_ROI_BINS_H

#include "blocked/blocked.h"
#include "blocked/isa.h"
#include "blocked/rows.h"

void DN_ISA_NAME(dn_roi_bins)(const dn_roi_bins_call *call, const dn_blocked *map,
                              const dn_blocked *out, int32_t first_block, int32_t last_block,
                              void *scratch);
int64_t DN_ISA_NAME(dn_roi_bins_scratch)(const dn_roi_pool *pool, int32_t map_h);

#endif
