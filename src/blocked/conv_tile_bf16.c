/* Register tiles that multiply words of bfloat16. See conv_tile.h. */
#define DN_TILE_PRECISION DN_CONV_BF16
#define DN_TILE_STRIDES   1
#include "blocked/conv_tile_kernels.h"

dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_bf16)(int32_t vectors, int32_t pixels, int32_t stride)
{
    return kernel_of(vectors, pixels, stride);
}
