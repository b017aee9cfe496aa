/* The table of one instruction set. */
#include "blocked/kernels.h"

#include "blocked/chain_kernels.h"
#include "blocked/deconv.h"
#include "blocked/reorder.h"
#include "blocked/roi_bins.h"
#include "blocked/row_kernels.h"
#include "blocked/vector.h"

#define DN_TEXT(x)    #x
#define DN_TEXT_OF(x) DN_TEXT(x)

extern const dn_conv_form DN_ISA_NAME(dn_conv_winograd2), DN_ISA_NAME(dn_conv_winograd3),
    DN_ISA_NAME(dn_conv_winograd4), DN_ISA_NAME(dn_conv_winograd5), DN_ISA_NAME(dn_conv_winograd6),
    DN_ISA_NAME(dn_conv_winograd7), DN_ISA_NAME(dn_conv_direct), DN_ISA_NAME(dn_conv_first),
    DN_ISA_NAME(dn_conv_depthwise), DN_ISA_NAME(dn_conv_pointwise), DN_ISA_NAME(dn_conv_int8),
    DN_ISA_NAME(dn_conv_bf16);

/* In the order in which equally cheap ones are taken. */
static const dn_conv_form *const conv_forms[] = {
    &DN_ISA_NAME(dn_conv_winograd4),
    &DN_ISA_NAME(dn_conv_winograd2),
    &DN_ISA_NAME(dn_conv_winograd3),
    &DN_ISA_NAME(dn_conv_winograd5),
    &DN_ISA_NAME(dn_conv_winograd6),
    &DN_ISA_NAME(dn_conv_winograd7),
    &DN_ISA_NAME(dn_conv_direct),
    &DN_ISA_NAME(dn_conv_first),
    &DN_ISA_NAME(dn_conv_depthwise),
    &DN_ISA_NAME(dn_conv_pointwise),
    &DN_ISA_NAME(dn_conv_int8),
    &DN_ISA_NAME(dn_conv_bf16),
    NULL,
};

extern const dn_kernels DN_ISA_NAME(dn_kernels);
const dn_kernels DN_ISA_NAME(dn_kernels) = {
    .isa = DN_TEXT_OF(DN_ISA),
    .lanes = DN_LANES,
    .conv_forms = conv_forms,
    .deconv = &DN_ISA_NAME(dn_deconv),
    .chain_form = DN_ISA_NAME(dn_chain_form),
    .chain_fits = DN_ISA_NAME(dn_chain_fits),
    .chain_scratch = DN_ISA_NAME(dn_chain_scratch),
    .chain_tasks = DN_ISA_NAME(dn_chain_tasks),
    .chain_run = DN_ISA_NAME(dn_chain_run),
    .to_blocked = DN_ISA_NAME(dn_to_blocked),
    .to_planar = DN_ISA_NAME(dn_to_planar),
    .maxpool = DN_ISA_NAME(dn_rows_maxpool),
    .upsample = DN_ISA_NAME(dn_rows_upsample),
    .add = DN_ISA_NAME(dn_rows_add),
    .scale = DN_ISA_NAME(dn_rows_scale),
    .activate = DN_ISA_NAME(dn_rows_activate),
    .average = DN_ISA_NAME(dn_rows_average),
    .copy = DN_ISA_NAME(dn_rows_copy),
    .mask_logits = DN_ISA_NAME(dn_mask_logits),
    .roi_bins = DN_ISA_NAME(dn_roi_bins),
    .roi_bins_scratch = DN_ISA_NAME(dn_roi_bins_scratch),
};
