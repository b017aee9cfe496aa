/* The forward pass as everybody who predicts asks for it. */
#ifndef DN_INFER_FORWARD_H
#define DN_INFER_FORWARD_H

#include "core/network.h"

/* By the network's plan where it has one (dn_network_fuses), else layer by layer; as
 * dn_run_forward. */
dn_status dn_infer(dn_network *network, dn_pass *pass);

#endif
