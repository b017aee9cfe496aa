/* The options and the state of [region], which its CPU and CUDA forms read. */
#ifndef DN_LAYERS_REGION_H
#define DN_LAYERS_REGION_H

#include "core/network.h"
#include "layers/head.h"
#include "math/region.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_region_options {
    int32_t coords, classes, num;
    dn_floats anchors;
    bool softmax, background, rescore, bias_match, focal_loss;
    float thresh, coord_scale, object_scale, noobject_scale, class_scale;
    float jitter, random, resize;
    const char *map, *tree;
} dn_region_options;

typedef struct dn_region_state {
    dn_head_info info;   /* first: see network.h */
    dn_region_head head; /* points to `anchors` */
    float *anchors;      /* (num, 2): width and height in cells */
} dn_region_state;

/* Whether the training is so young that all boxes are pulled to their anchors. */
bool dn_region_warms_up(const dn_pass *pass);

/* layer->loss and the statistics from the sums of the pass; without truth the sums are NULL. */
void dn_region_set_loss(dn_layer *layer, const dn_pass *pass, const dn_head_sums *sums);

#ifdef __cplusplus
}
#endif

#endif
