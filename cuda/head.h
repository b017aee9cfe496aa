/* What the CUDA forms of the heads ([yolo], [region]) share: the objects of a pass. */
#ifndef DN_CUDA_HEAD_H
#define DN_CUDA_HEAD_H

#include "layers/head.h"
#include "staging.h"

/* Boxes that one thread looks at: few enough that small batches fill a GPU, and enough that sums
 * stay small. */
enum { DN_PLACES_A_THREAD = 2 };

/* Threads for an image's `places`. */
static inline int32_t dn_head_threads(int32_t places)
{
    return (places + DN_PLACES_A_THREAD - 1) / DN_PLACES_A_THREAD;
}

enum { DN_OBJECTS_AN_IMAGE = 64 };

/* The objects of a pass, in device memory. */
typedef struct dn_head_truth {
    const int32_t *starts; /* (batch + 1): an image's objects are starts[i]..starts[i+1]-1 */
    const dn_head_object *objects; /* (starts[batch]) */
    int32_t *places;               /* (starts[batch], places of an object): where it is learned */
    int32_t count;                 /* starts[batch] */
} dn_head_truth;

/* Makes room for the objects of `images` images with `places` places each: for
 * DN_OBJECTS_AN_IMAGE on average; a pass with more makes more room. */
dn_status dn_cuda_head_reserve(dn_staging *staging, int32_t images, int32_t places);

/* Copies the objects of the pass there; `places` numbers of each are left for the head to fill. */
dn_status dn_cuda_head_truth(dn_staging *staging, const dn_layer *layer, const dn_pass *pass,
                             int32_t places, dn_head_truth *truth);

/* How the box lies to the objects first..last-1, the same as dn_head_overlap_of; `best` counts from
 * the image's first. */
static inline __device__ dn_head_overlap dn_head_overlap_on(const dn_head_truth *truth,
                                                            int32_t first, int32_t last, dn_box box)
{
    dn_head_overlap overlap = dn_head_overlap_none();
    for (int32_t k = first; k < last; k++) {
        const dn_head_object *object = &truth->objects[k];
        dn_head_overlap_add(&overlap, box, object->box, object->crowd, k - first);
    }
    return overlap;
}

#endif
