/* How many images a second go from files to boxes and encoded masks, overlapped. */
#ifndef DN_CLI_THROUGHPUT_H
#define DN_CLI_THROUGHPUT_H

#include "darknet.h"

#include <stdint.h>

typedef struct dn_throughput {
    int64_t images;
    double seconds;
} dn_throughput;

/* Sends the files through the network `rounds` times, `batch` at a time, behind some batches that
 * are not counted; ends the program with a sentence where one fails. */
dn_throughput dn_measure_throughput(dn_network *network, const dn_stream_options *options,
                                    char **paths, int64_t count, int64_t rounds, int32_t batch);

/* The masks that instances have, which lie one after the other, as COCO's strings, which are
 * dropped; nothing where the result has strings. */
void dn_encode_all_masks(const dn_result *result);

#endif
