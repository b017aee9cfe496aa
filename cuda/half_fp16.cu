/* The kernels of half_tile.h for half precision. */
#include "half_tile.h"

DN_HALF_TILES(__half, fp16)
