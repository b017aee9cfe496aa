/* Options and state of [convolutional] for its forms. */
#ifndef DN_LAYERS_CONVOLUTIONAL_H
#define DN_LAYERS_CONVOLUTIONAL_H

#include "layers/output_stage.h"
#include "math/conv.h"

typedef struct dn_convolutional_options {
    int32_t filters, size, stride, stride_x, stride_y, padding, groups, dilation, activation;
    bool pad, batch_normalize, flipped;
} dn_convolutional_options;

typedef struct dn_convolutional {
    dn_conv_geometry geometry; /* of one group */
    dn_output_stage stage;
    dn_param *weights;
    uint64_t packed_version; /* of the weights that layer->cache holds; 0: none */
} dn_convolutional;

#ifdef __cplusplus
extern "C" {
#endif

/* The convolution of `images`, without its last step and its arrays. */
dn_conv_args dn_convolutional_args(const dn_layer *layer, int32_t images, int32_t threads);

#ifdef __cplusplus
}
#endif

#endif
