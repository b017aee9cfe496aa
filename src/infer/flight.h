/* A pass whose end nobody waits for: the next one may begin before the masks of this one are there,
 * or the boxes of a detector.
 *
 * What the next pass writes over is taken in the order of the device's work, into memory of the
 * flight. A detector's boxes: what suppression kept, by a copy behind the pass. Of a network with a
 * mask branch the host must know the boxes anyway, before the branch ends; its masks come by a copy
 * behind the branch, strings are made behind it, in a paster of the flight; of masks that stay on
 * the device, in pasters of the results, what their scores need comes. Where that is not possible
 * (on the CPU, where passes end by themselves; probabilities of classes other than their boxes'
 * own) all of it is there when the flight has begun.
 *
 * Whether the device had room for all boxes of a detector shows at the end: where it had not, the
 * pass is made again, and waited for, by who has its input.
 */
#ifndef DN_INFER_FLIGHT_H
#define DN_INFER_FLIGHT_H

#include "infer/input.h"
#include "infer/predict.h"

typedef struct dn_flight {
    const dn_backend *backend;
    const dn_input_rule *rule;         /* the caller's */
    const dn_predict_options *options; /* the caller's */
    int32_t device, count;
    dn_result **results; /* (count), the caller's */
    dn_mask_list *lists; /* (count) */
    float *masks;        /* memory of the host: those of the pass's RoIs, one after the other, or
                            means of masks that stay on the device */
    int64_t mask_floats;
    int32_t cells;           /* of a mask */
    bool boxes;              /* those of a detector are on their way, to the survivors */
    bool due;                /* masks are on their way */
    bool strings;            /* they are, as such, in the paster */
    bool kept;               /* they stay, their means are on their way */
    bool flying;             /* the mark is set */
    dn_survivors *survivors; /* NULL: there were none yet */
    dn_paster *paster;       /* NULL: there were none yet */
    void *mark;              /* on a device: behind the pass and its masks */
    double network_seconds, find_seconds;
} dn_flight;

/* For passes of at most `batch` images, made inputs and asked for by these. Freed with
 * dn_flight_free, which waits for what is on its way. */
dn_status dn_flight_make(dn_flight *flight, const dn_network *network, int32_t batch,
                         const dn_input_rule *rule, const dn_predict_options *options);
void dn_flight_free(dn_flight *flight);

/* Runs the network on the input that was set, `count` images of the sizes that the results say.
 * `results` is filled but for what dn_flight_end does, and stays the flight's until then. */
dn_status dn_flight_begin(dn_flight *flight, dn_network *network, dn_result **results,
                          int32_t count);

/* Waits for boxes and masks. The network may have gone on. *again: the device had too little room
 * for the boxes, dn_flight_again is to be asked. */
dn_status dn_flight_end(dn_flight *flight, bool *again);

/* The whole flight once more, on the same input, which was set again; waits for all of it. */
dn_status dn_flight_again(dn_flight *flight, dn_network *network);

#endif
