/* What the row kernels' files export; see rows.h and kernels.h. */
#ifndef DN_BLOCKED_ROW_KERNELS_H
#define DN_BLOCKED_ROW_KERNELS_H

#include "blocked/isa.h"
#include "blocked/rows.h"

void DN_ISA_NAME(dn_rows_maxpool)(const dn_pool_geometry *g, const dn_blocked *in,
                                  const dn_blocked *out, dn_rows rows, float *scratch);
void DN_ISA_NAME(dn_rows_upsample)(int32_t factor, float scale, const dn_blocked *in,
                                   const dn_blocked *out, dn_rows rows);
void DN_ISA_NAME(dn_rows_add)(const float factors[2], const dn_blocked *a, const dn_blocked *b,
                              dn_activation activation, const dn_blocked *out, dn_rows rows);
void DN_ISA_NAME(dn_rows_scale)(const dn_blocked *scales, const dn_blocked *map,
                                dn_activation activation, const dn_blocked *out, dn_rows rows);
void DN_ISA_NAME(dn_rows_activate)(const dn_blocked *in, dn_activation activation,
                                   const dn_blocked *out, dn_rows rows);
void DN_ISA_NAME(dn_rows_average)(const dn_blocked *in, const dn_blocked *out, dn_rows rows);
void DN_ISA_NAME(dn_rows_copy)(dn_channel_copy copy, const dn_blocked *in, const dn_blocked *out,
                               dn_rows rows);
void DN_ISA_NAME(dn_mask_logits)(const dn_blocked *in, int32_t image, const float *weights,
                                 float bias, float *out);

#endif
