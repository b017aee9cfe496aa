/* The forward pass as everybody who predicts asks for it. */
#ifndef DN_INFER_FORWARD_H
#define DN_INFER_FORWARD_H

#include "core/network.h"

/* By the network's plan where it has one (dn_network_fuses), else layer by layer; as
 * dn_run_forward. */
dn_status dn_infer(dn_network *network, dn_pass *pass);

/* Waits for the end of the mask branch of the last pass, which goes on, and sets branch_seconds;
 * not *waited: there is none, or nobody knows its end but who waits for its results. */
dn_status dn_infer_wait(dn_network *network, bool *waited);

/* dn_image_to_input, on the threads that the plan runs on where there is one: OpenMP's would wait
 * busily behind it, on the cores that those need next. */
dn_status dn_infer_letterbox(dn_network *network, const dn_image *image,
                             const dn_letterbox *letterbox, float *to);

#endif
