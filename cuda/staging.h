/* Bytes that exist twice, for the host and on the device: what travels to the device in a pass, in
 * one copy, or comes back from there.
 *
 * The host's part is page-locked, so that nobody waits for the copy; `begin` waits for the one
 * before, which has long arrived. The block stays as it is until the next `send`. Room is made in a
 * layer's setup; what has no limit known there (objects of an image) makes more when it meets more.
 */
#ifndef DN_CUDA_STAGING_H
#define DN_CUDA_STAGING_H

#include "launch.h"

typedef struct dn_staging {
    char *host;  /* page-locked */
    char *block; /* of the device */
    size_t bytes;
    cudaEvent_t copied; /* behind the last copy; there where bytes > 0 */
} dn_staging;

/* Makes room for `bytes`, on both sides, where there is less; then the host's part may be written.
 * What was in either is lost where it grows. */
dn_status dn_staging_begin(dn_staging *staging, size_t bytes);

/* Copies the first `bytes` of the host's part into the block. */
dn_status dn_staging_send(dn_staging *staging, size_t bytes);

/* Copies so many bytes of the block, from `start` on, to the same place of the host's part, where
 * they are after `wait`. */
dn_status dn_staging_bring(dn_staging *staging, size_t start, size_t bytes);

/* The same in the order of another stream's work than the thread's. */
dn_status dn_staging_bring_on(cudaStream_t stream, dn_staging *staging, size_t start, size_t bytes);
dn_status dn_staging_wait(const dn_staging *staging);

void dn_staging_free(dn_staging *staging);

#endif
