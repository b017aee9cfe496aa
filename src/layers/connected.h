/* Options, state and products of [connected] for its forms. */
#ifndef DN_LAYERS_CONNECTED_H
#define DN_LAYERS_CONNECTED_H

#include "layers/output_stage.h"
#include "math/gemm.h"

typedef struct dn_connected_options {
    int32_t output, activation;
    bool batch_normalize;
} dn_connected_options;

typedef struct dn_connected {
    dn_output_stage stage;
    dn_param *weights;
    int32_t inputs;
} dn_connected;

#ifdef __cplusplus
extern "C" {
#endif

/* Sizes, without arrays: out (n, o) = in (n, i) * W (o, i)'; dW (o, i) += grad (n, o)' * in (n, i);
 * din (n, i) += grad (n, o) * W (o, i). */
dn_gemm_args dn_connected_forward(const dn_layer *layer, int32_t images, int32_t threads);
dn_gemm_args dn_connected_weights(const dn_layer *layer, int32_t images, int32_t threads);
dn_gemm_args dn_connected_inputs(const dn_layer *layer, int32_t images, int32_t threads);

#ifdef __cplusplus
}
#endif

#endif
