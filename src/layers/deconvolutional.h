/* Options and state of [deconvolutional] for its forms. */
#ifndef DN_LAYERS_DECONVOLUTIONAL_H
#define DN_LAYERS_DECONVOLUTIONAL_H

#include "layers/output_stage.h"
#include "math/conv.h"

typedef struct dn_deconvolutional_options {
    int32_t filters, size, stride, padding, output_padding, activation;
    bool pad, batch_normalize;
} dn_deconvolutional_options;

typedef struct dn_deconvolutional {
    dn_conv_geometry geometry; /* of the convolution from the output back to the input */
    dn_output_stage stage;
    dn_param *weights;
} dn_deconvolutional;

#ifdef __cplusplus
extern "C" {
#endif

/* The convolution that this layer is the gradient of, without its arrays: it reads outputs (of
 * `images`) and has the input's channels as filters. */
dn_conv_args dn_deconvolutional_args(const dn_layer *layer, int32_t filters, int32_t images,
                                     int32_t threads);

#ifdef __cplusplus
}
#endif

#endif
