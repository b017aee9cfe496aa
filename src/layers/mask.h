/* What others may know of a [mask] layer, and what its CPU and CUDA forms share. */
#ifndef DN_LAYERS_MASK_H
#define DN_LAYERS_MASK_H

#include "core/network.h"
#include "math/mask_loss.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dn_mask_loss { DN_MASK_BCE, DN_MASK_BCE_DICE } dn_mask_loss;

typedef struct dn_mask_options {
    int32_t classes, loss;
    bool soft_targets;
    float mask_scale;
} dn_mask_options;

/* Its state. */
typedef struct dn_mask {
    float *targets; /* (n, h, w), training only */
    float *weights; /* (n): of a RoI's loss in the sum over images; 0: no truth */
    bool in_planes; /* the last forward computed single planes, not the logits of all classes */
    float *extras;  /* (extra_capacity, h, w): see dn_mask_begin_extras; grows */
    int64_t extra_floats;
    const float *extras_there; /* a device's, which keeps them itself */
} dn_mask;

/* The channel of RoI r's class in the layer's input. */
int32_t dn_mask_channel(const dn_layer *layer, int32_t r);

/* Where the logits of a class of RoI r, (h, w), begin in `in`, the layer's input. */
int64_t dn_mask_logits_start(const dn_layer *layer, const dn_tensor *in, int32_t r,
                             int32_t class_id);

/* Fails where a RoI's class has no mask. */
dn_status dn_mask_check_rois(const dn_layer *layer, const dn_pass *pass);

/* What the live RoIs learn: weights (count) = mask_scale / (RoIs with a truth of the same image),
 * targets (count, h, w); where a RoI has no truth, the weight is 0 and the target untouched. */
dn_status dn_mask_learn_from(const dn_layer *layer, const dn_pass *pass, float *weights,
                             float *targets);

/* The network's last [mask], or NULL. */
const dn_layer *dn_mask_layer_of(const dn_network *network);

/* A forward that computes single planes, of inference: *extras = room for the probabilities of
 * layer->rois->extras, (extra_count, h, w), from which dn_masks_of reads until the next forward. */
dn_status dn_mask_begin_extras(dn_layer *layer, float **extras);

/* The same where they are made on a device, in a block that others own. */
void dn_mask_set_extras(dn_layer *layer, const float *extras);

/* A mask that is asked for: of an RoI of the last pass, in inference, for a class: the RoI's own,
 * one of layer->rois->extras, or any where the logits of all classes are there. */
typedef struct dn_mask_request {
    int32_t roi, class_id;
} dn_mask_request;

/* Whether the layer's output has it: the RoI's own class, or the only one. */
bool dn_mask_is_in_output(const dn_layer *layer, const dn_mask_request *request);

/* out (count, h, w) = their probabilities. Of a network on a device they come in one copy: with
 * those of all RoIs for their own class where no other is asked for, else by themselves. */
dn_status dn_masks_of(const dn_layer *layer, dn_network *network, const dn_mask_request *requests,
                      int32_t count, float *out);

/* Where one of them lies, (h, w), in the memory of the network's device, behind the last pass:
 * probabilities or *logits. NULL: it has to be asked for by dn_masks_of. */
const float *dn_mask_values_of(const dn_layer *layer, const dn_network *network,
                               const dn_mask_request *request, bool *logits);

#ifdef __cplusplus
}
#endif

#endif
