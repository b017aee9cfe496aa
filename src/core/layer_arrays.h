/* What a layer's forward and backward read and write, as a list: who runs a layer on another side
 * than the one where its values lie (host_layer.c, test_layer.c) leads the pointers elsewhere for a
 * while and then puts them back. */
#ifndef DN_CORE_LAYER_ARRAYS_H
#define DN_CORE_LAYER_ARRAYS_H

#include "core/layer.h"

typedef enum dn_array_role {
    DN_ARRAY_IN,
    DN_ARRAY_IN_GRAD,
    DN_ARRAY_PARAM,
    DN_ARRAY_STATISTIC, /* a parameter that a training forward changes */
    DN_ARRAY_PARAM_GRAD,
    DN_ARRAY_OUT,
    DN_ARRAY_OUT_GRAD,
    DN_ARRAY_OWN, /* saved, cache, workspace: not listed */
} dn_array_role;

typedef struct dn_layer_array {
    dn_array_role role;
    float **pointer;
    float *home;    /* where the pointer leads now, and after dn_put_back */
    int64_t floats; /* its room */
    int32_t of;     /* tensors: the layer whose output it is, or -1 */
} dn_layer_array;

/* At most that many: */
size_t dn_layer_array_limit(const dn_layer *layer);

/* Lists the arrays that are there (no pointer twice) and returns how many. The network may be one
 * that has not run. */
int32_t dn_layer_arrays(dn_layer *layer, dn_network *network, dn_layer_array *arrays);

/* Floats of the array that count in this pass: those of live images or RoIs. */
int64_t dn_live_floats(const dn_layer_array *array, const dn_pass *pass);

void dn_put_back(const dn_layer_array *arrays, int32_t count);

#endif
