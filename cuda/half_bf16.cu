/* The kernels of half_tile.h for bfloat16. */
#include "half_tile.h"

DN_HALF_TILES(__nv_bfloat16, bf16)
