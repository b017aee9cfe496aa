/* The convolution's kernels for bfloat16. */
#include "half_forms.h"

DN_HALF_TILES(__nv_bfloat16, bf16)
