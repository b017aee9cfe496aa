/* What [maxpool] and [local_avgpool] share: options, geometry, table row.
 *
 * padding is the total of both sides (default size - 1), the window of output i starts at
 * i * stride - padding / 2, samples outside do not count: Darknet's asymmetric rule, so that
 * size=2 stride=1 keeps the size. The layer's state is a dn_pool_geometry.
 */
#ifndef DN_LAYERS_POOL_H
#define DN_LAYERS_POOL_H

#include "core/layer.h"
#include "math/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_pool_options {
    int32_t size, stride, stride_x, stride_y, padding;
} dn_pool_options;

extern const dn_option dn_pool_option_table[];

dn_status dn_pool_setup(dn_layer *layer, dn_network *network);

/* "max" or "avg" is put before the row. */
void dn_pool_describe(const dn_layer *layer, const dn_network *network, const char *word,
                      char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
