/* Memory in which forms of a convolution are measured (half_choice.cu), as it is in a pass: of
 * ordinary values, since products of zeros take less power and time, with inputs that the layer
 * before has just written, and with weights that the GPU's second-level cache has lost by the time
 * that they are read again. */
#ifndef DN_CUDA_HALF_TRIAL_H
#define DN_CUDA_HALF_TRIAL_H

#include "half_conv.h"

typedef struct dn_half_trial {
    dn_half_conv call;
    void *block;
    char *weights; /* `copies` in turns, together twice as large as the cache */
    size_t weight_bytes;
    int64_t copies, next;
} dn_half_trial;

/* False where the device has no room. */
bool dn_half_trial_make(const dn_half_conv *conv, dn_half_trial *trial);
void dn_half_trial_free(dn_half_trial *trial);

/* One run, with the next weights. */
dn_status dn_half_trial_run(dn_half_trial *trial, dn_half_form form,
                            const dn_half_workspace *workspace);

#endif
