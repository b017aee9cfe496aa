/* Register tiles that multiply floats. See conv_tile.h. */
#define DN_TILE_PRECISION DN_CONV_F32
#define DN_TILE_STRIDES   2
#include "blocked/conv_tile_kernels.h"

dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_f32)(int32_t vectors, int32_t pixels, int32_t stride)
{
    return kernel_of(vectors, pixels, stride);
}
