/* What suppression on a device keeps of a pass, asked for behind it and taken when it is there, so
 * that the host need not wait in between: the next pass may have begun. See cuda/survivors.cu and
 * infer/flight.c; who waits asks dn_detect.
 */
#ifndef DN_CORE_SURVIVORS_H
#define DN_CORE_SURVIVORS_H

#include "core/network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A box of an image and a class that it keeps. */
typedef struct dn_survivor {
    int32_t detection, class_id;
    float prob, objectness;
    dn_box box; /* relative to the network's input */
} dn_survivor;

/* Those of all images of a pass, in memory of the host, which later passes leave alone. */
typedef struct dn_survivors dn_survivors;

struct dn_survivor_device {
    /* Asks for what the heads before layer `before` found in the pass that this thread has asked
     * for last. *survivors, which is made where it is NULL, takes them: what was asked for before
     * must be there. Not *asked: dn_detect is to be asked. */
    dn_status (*ask)(const dn_network *network, const dn_pass *pass, int32_t before,
                     dn_survivors **survivors, bool *asked);

    /* When the work before a mark behind `ask` is done, in any thread. False: there was too little
     * room, the pass is to be made again and dn_detect to be asked. */
    bool (*are_there)(const dn_survivors *survivors);

    /* *count of an image, by detection and class. */
    const dn_survivor *(*of_image)(const dn_survivors *survivors, int32_t image, int32_t *count);

    void (*free)(dn_survivors *survivors); /* NULL is allowed; in any thread */
};

#ifdef __cplusplus
}
#endif

#endif
