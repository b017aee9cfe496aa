/* Register tiles that multiply words of int8. See conv_tile.h. */
#define DN_TILE_PRECISION DN_CONV_INT8
#define DN_TILE_STRIDES   1
#include "blocked/conv_tile_kernels.h"

dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_int8)(int32_t vectors, int32_t pixels, int32_t stride)
{
    return kernel_of(vectors, pixels, stride);
}
