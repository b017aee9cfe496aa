/* The convolution's kernels for half precision. */
#include "half_forms.h"

DN_HALF_TILES(__half, fp16)
