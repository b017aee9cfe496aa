/* The convolution's kernels by warpgroups for half precision. The Makefile compiles half_hopper_*
 * for compute capability 9.0a, whatever ARCH is, or, where nvcc does not know it, empty. */
#ifdef DN_WITHOUT_HOPPER
#include "half_conv.h"

const dn_half_tiles dn_half_bulk_fp16 = {0, NULL};
#else
#include "half_bulk.h"

DN_BULK_TILES(__half, fp16)
#endif
