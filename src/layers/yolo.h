/* What the files of [yolo] share: options, private state, where a value lies. See yolo.c. */
#ifndef DN_LAYERS_YOLO_H
#define DN_LAYERS_YOLO_H

#include "core/network.h"
#include "layers/head.h"
#include "math/yolo.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_yolo_options {
    int32_t classes, num;
    dn_ints mask;
    dn_floats anchors;
    float ignore_thresh, truth_thresh;
    const char *map;
    float scale_x_y;
    bool new_coords;
    int32_t iou_loss, iou_thresh_kind, nms_kind; /* the former two: dn_box_loss */
    float iou_normalizer, obj_normalizer, cls_normalizer, delta_normalizer, iou_thresh, beta_nms;
    float max_delta, label_smooth_eps;
    bool focal_loss, objectness_smooth;
    dn_floats counters_per_class;
    float jitter, random, resize;
} dn_yolo_options;

typedef struct dn_yolo_state {
    dn_head_info info; /* first: see network.h */
    dn_yolo_head head; /* points into what follows */
    int32_t slots;
    int32_t *anchor_of_slot; /* (slots): indices of anchors */
    float *anchors;          /* (num, 2): width and height in network pixels */
    float *class_weights;    /* (classes) or NULL */
    float *entries;          /* (2, 5 + classes): of one box, before and behind the logistic */
    bool lazy;               /* the output is made when it is asked for */
    bool waits;              /* that of the last pass was not yet */
} dn_yolo_state;

/* Where the anchor slot's values of one image, (5 + classes, h, w), begin in such a tensor. */
static inline int64_t dn_yolo_slot_offset(const dn_layer *layer, int32_t image, int32_t slot)
{
    const dn_yolo_options *options = (const dn_yolo_options *)layer->options;
    const int64_t entries = DN_YOLO_CLASSES + options->classes;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    return image * dn_tensor_size(&layer->out) + slot * entries * plane;
}

/* The anchor slot's values of one image. */
static inline float *dn_yolo_slot(const dn_layer *layer, float *values, int32_t image, int32_t slot)
{
    return values + dn_yolo_slot_offset(layer, image, slot);
}

/* The output of one slot, (5 + classes, plane), from its input. */
void dn_yolo_activate(const dn_yolo_options *options, const float *in, float *out, int64_t plane);

/* The type's `detect`. */
dn_status dn_yolo_detect(const dn_layer *layer, const dn_pass *pass, int32_t image,
                         dn_detections *detections);

/* Sets layer->loss, the statistics and layer->saved from the output of this pass. */
dn_status dn_yolo_loss(dn_layer *layer, const dn_pass *pass);

/* Floats that dn_yolo_loss keeps: the gradients of the input, then how many objects each slot of
 * each cell learns. */
int64_t dn_yolo_loss_floats(const dn_layer *layer);

/* layer->loss and the statistics from the sums of the pass; without truth the sums are NULL. */
void dn_yolo_set_loss(dn_layer *layer, const dn_pass *pass, const dn_head_sums *sums);

#ifdef __cplusplus
}
#endif

#endif
