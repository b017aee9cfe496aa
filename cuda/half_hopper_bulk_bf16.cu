/* The convolution's kernels by warpgroups for bfloat16: see half_hopper_fp16.cu. */
#ifdef DN_WITHOUT_HOPPER
#include "half_conv.h"

const dn_half_tiles dn_half_bulk_bf16 = {0, NULL};
#else
#include "half_bulk.h"

DN_BULK_TILES(__nv_bfloat16, bf16)
#endif
