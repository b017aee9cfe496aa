/* Suppression on the device, of the boxes that the heads have found (decode.h): the same boxes keep
 * the same classes as by core/nms.c, equal probabilities included. What is kept becomes RoIs
 * without the host (roi_table.h), and one list of it comes to the host.
 *
 * The lists of all heads are one list an image, in the heads' order, and each class has a row of
 * its probabilities. A block takes a class of an image: places by falling probability are counted,
 * not sorted (how many are higher, or equal and earlier), then each box that is kept takes the
 * class from all behind it at once. So a class costs the square of its boxes: images with more than
 * DN_MOST_CANDIDATES boxes, which a head that has learnt nothing finds, are the host's to do. Room
 * is made at the first pass, and more where a pass had too many.
 */
#ifndef DN_CUDA_SUPPRESS_H
#define DN_CUDA_SUPPRESS_H

#include "decode.h"

#include "core/survivors.h"
#include "math/suppress.h"

enum {
    DN_HEADS = 8,
    DN_FIRST_CANDIDATES = 256, /* boxes of an image that there is room for at first */
    DN_MOST_CANDIDATES = 4096,
    DN_MOST_PROBS = 1 << 24, /* of a batch */
    DN_FIRST_KEPT = 64       /* of an image: come to the host in the first copy */
};

/* The boxes of one head, as its dn_decoding has them. */
typedef struct dn_head_boxes {
    int32_t entries, capacity;
    const int32_t *starts;
    const float *boxes;
} dn_head_boxes;

typedef struct dn_image_counts {
    int32_t found; /* boxes of all heads; INT32_MAX: a head had no room for all */
    int32_t kept;  /* (box, class) */
    int32_t rois;  /* boxes that may become RoIs */
} dn_image_counts;

/* A box behind suppression. */
typedef struct dn_best {
    float prob;
    int32_t class_id; /* of the largest probability, -1: none is left */
    int32_t kept;     /* classes */
    bool roi;         /* it may become one */
} dn_best;

/* Pointers lead to device memory. */
typedef struct dn_suppression {
    int32_t images, classes, capacity, head_count;
    int32_t room; /* survivors of the batch */
    float threshold;
    dn_nms_rule rule;
    dn_head_boxes heads[DN_HEADS];
    dn_image_counts *counts; /* (images) */
    dn_survivor *survivors;  /* (room): by image, box, class */
    dn_box *boxes;           /* (images, capacity) */
    dn_best *best;           /* (images, capacity) */
    float *probs;            /* (images, classes, capacity); 0: not above the threshold, or lost */
    int32_t *order;          /* (images, classes, capacity): a class's boxes by probability */
} dn_suppression;

/* Of the survivors, on the host. */
typedef enum dn_list_state { DN_LIST_NONE, DN_LIST_COMES, DN_LIST_THERE } dn_list_state;

struct dn_suppressor {
    dn_staging staging; /* counts and survivors */
    char *block;        /* the other arrays */
    size_t bytes;
    int32_t capacity; /* boxes of an image that room is made for */
    uint64_t passes;  /* the network's at which `now` was made */
    dn_list_state list;
    bool refused;      /* there was too little room */
    bool crowded;      /* and there cannot be enough: the last batch that was waited for */
    int64_t most_kept; /* of a batch that was waited for */
    dn_suppression now;
};

/* The boxes of an image that can be looked at: none where there are too many. */
static inline __device__ int32_t dn_suppress_count(const dn_suppression *d, int32_t image)
{
    const int32_t found = d->counts[image].found;
    return found <= d->capacity ? found : 0;
}

/* Box i of an image: x0, y0, x1, y1, objectness, classes. */
static inline __device__ const float *dn_suppress_row(const dn_suppression *d, int32_t image,
                                                      int32_t i, int32_t *entries)
{
    const dn_head_boxes *head = d->heads;
    while (i >= head->starts[image + 1] - head->starts[image]) {
        i -= head->starts[image + 1] - head->starts[image];
        head++;
    }
    *entries = head->entries;
    return head->boxes + (int64_t)(head->starts[image] + i) * head->entries;
}

/* Counts and, behind them, survivors: bytes of both up to so many survivors, and where they are in
 * memory that begins at `base`. */
size_t dn_suppress_bytes(const dn_suppression *d, int64_t survivors);
void dn_suppress_lay_out(dn_suppression *d, char *base);

/* Suppresses the boxes of all images of the pass, from the heads before layer `before`, and does
 * not wait; *out = NULL where the host has to do it. */
dn_status dn_suppress(const dn_network *network, const dn_pass *pass, int32_t before,
                      dn_suppressor **out);

void dn_suppressor_free(dn_suppressor *suppressor); /* NULL is allowed */

/* ---- survivors.cu ---- */

/* Lists what was kept and asks for the copy. */
dn_status dn_suppress_list(dn_suppressor *suppressor);

/* The backend's `survivors` and `detect`. */
extern const dn_survivor_device dn_cuda_survivor_device;
dn_status dn_cuda_detect(const dn_network *network, const dn_pass *pass, int32_t before,
                         int32_t image, dn_detections *detections, bool *done);

#endif
