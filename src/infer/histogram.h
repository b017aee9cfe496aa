/* How the values of a tensor are distributed, and which range of them int8 should keep. */
#ifndef DN_INFER_HISTOGRAM_H
#define DN_INFER_HISTOGRAM_H

#include "core/network.h"

enum { DN_HISTOGRAM_BINS = 8192 };

/* Bins of equal width over [-reach, reach), reach a power of two that doubles where values ask for
 * it: so the counts depend on which values came, not on their order. Begins zeroed. */
typedef struct dn_histogram {
    float reach; /* 0: nothing was added yet */
    float low, high;
    int64_t values;
    bool broken; /* some value was no number, or beyond all sense */
    int64_t counts[DN_HISTOGRAM_BINS];
} dn_histogram;

void dn_histogram_add(dn_histogram *histogram, const float *values, int64_t count);

/* The range that holds 0 and loses least, by the sum of squared errors, when values are clipped to
 * it and rounded to its 256 levels. */
dn_range dn_histogram_range(const dn_histogram *histogram);

#endif
