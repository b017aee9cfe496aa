/* The forward pass as everybody who predicts asks for it. */
#ifndef DN_INFER_FORWARD_H
#define DN_INFER_FORWARD_H

#include "core/network.h"

/* By the network's plan where it has one (dn_network_fuses), else layer by layer; as
 * dn_run_forward. */
dn_status dn_infer(dn_network *network, dn_pass *pass);

/* dn_image_to_input, on the threads that the plan runs on where there is one: OpenMP's would wait
 * busily behind it, on the cores that those need next. */
dn_status dn_infer_letterbox(dn_network *network, const dn_image *image,
                             const dn_letterbox *letterbox, float *to);

#endif
