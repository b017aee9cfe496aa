/* Bytes of the host to a device, through page-locked memory. */
#ifndef DN_INFER_INPUT_SEND_H
#define DN_INFER_INPUT_SEND_H

#include "infer/input.h"

/* Whether so many bytes are to be copied by several of the network's threads, a rule's team. */
bool dn_input_is_shared(const dn_network *network, size_t bytes);

/* Copies to a block of the device from memory of the host that may change behind this; what is not
 * there yet comes in the order of the thread's work. */
dn_status dn_input_send(const dn_input_rule *rule, dn_input_scratch *scratch, void *block,
                        const void *host, size_t bytes);

#endif
