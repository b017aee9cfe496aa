/* The loader: batches of samples, made ahead of their use by threads of its own.
 *
 * Every epoch visits every image once, in an order that is a function of (seed, epoch). Sample
 * number k of a run is the (k mod images)-th of epoch k / images, whichever thread makes it and
 * wherever the run was resumed; of several processes each makes its own part of every iteration. An
 * image that cannot be used is reported once and the next one of the data set takes its place; with
 * `strict` the loader stops there.
 */
#ifndef DN_TRAIN_LOADER_H
#define DN_TRAIN_LOADER_H

#include "core/backend.h"
#include "train/sample.h"
#include "train/sizes.h"

typedef struct dn_loader dn_loader;

typedef struct dn_loader_options {
    dn_sample_options sample;  /* its size is not looked at */
    dn_sizes sizes;            /* of an iteration's samples */
    const dn_backend *backend; /* to which the images go */
    int32_t batch;             /* samples of a batch */
    int32_t workers;           /* threads, 1..256 */
    int64_t first_sample;      /* number of the first iteration's first one */
    int32_t own, own_first;    /* the samples of each iteration to make; own = 0: all of them */
    bool strict;
    void (*fault)(void *context, const char *sentence); /* called by dn_loader_next; may be NULL */
    void *context;
} dn_loader_options;

typedef struct dn_batch {
    int32_t width, height;
    const float *input;       /* (batch, 3, height, width) */
    const dn_truth *truth;    /* (batch) */
    const dn_sample *samples; /* (batch) */
} dn_batch;

/* The data set must outlive the loader. */
dn_status dn_loader_create(const dn_dataset *dataset, const dn_loader_options *options,
                           dn_loader **out);

/* Waits for the next batch, which stays valid until the call after. */
dn_status dn_loader_next(dn_loader *loader, dn_batch *batch);

/* Makes no more batches; the one that was handed out last stays valid, without the data set. */
void dn_loader_stop(dn_loader *loader);

void dn_loader_free(dn_loader *loader);

#endif
