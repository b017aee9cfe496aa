/* The forward pass: by the inference plan, or layer by layer. See forward.h.
 *
 * The plan is made at the first pass, and again where the input's size has changed; weights that
 * have changed are packed anew.
 */
#include "infer/forward.h"

#include "infer/plan.h"

dn_status dn_infer(dn_network *network, dn_pass *pass)
{
    if (!dn_network_fuses(network)) return dn_run_forward(network, pass);
    dn_plan *plan;
    DN_TRY(dn_plan_of(network, &plan));
    return dn_plan_run(plan, pass);
}

dn_status dn_network_forward(dn_network *network, const float *input, int32_t batch,
                             float threshold)
{
    DN_TRY(dn_network_set_input(network, input, batch));
    dn_pass pass = {.batch = batch, .threshold = threshold, .nms = -1.0f};
    DN_TRY(dn_infer(network, &pass));
    return network->backend->synchronise();
}
