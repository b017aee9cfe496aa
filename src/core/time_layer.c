/* How long one layer takes: dn_test_time_layer of darknet.h, for benchmarks.
 *
 * Method: the layer's kernels are asked for again and again behind a pass of its network, and the
 * device is waited for once before and once behind them, so that what starting a kernel costs
 * counts only where the device waits for it.
 */
#include "core/host.h"
#include "math/clock.h"

static dn_status time_runs(dn_layer *layer, const dn_pass *pass, dn_layer_function function,
                           int32_t rounds, double *seconds)
{
    const dn_backend *backend = pass->network->backend;
    DN_TRY(function(layer, pass)); /* whatever is made at a first run */
    DN_TRY(backend->synchronise());
    const double start = dn_now();
    for (int32_t round = 0; round < rounds; round++) DN_TRY(function(layer, pass));
    DN_TRY(backend->synchronise());
    *seconds = (dn_now() - start) / rounds;
    return DN_OK;
}

dn_status dn_test_time_layer(dn_network *network, int32_t layer, int32_t rounds, double *forward,
                             double *backward)
{
    if (layer < 0 || layer >= network->run_count || rounds < 1)
        return dn_fail(DN_ERROR_ARGUMENT, "layer %d, %d rounds: the network runs layers 0..%d",
                       layer, rounds, network->run_count - 1);
    if (!network->pass.network) return dn_fail(DN_ERROR_ARGUMENT, "needs a pass before it");
    dn_layer *timed = &network->layers[layer];
    const dn_layer_kernels *kernels = network->backend->kernels(timed->type);
    if (!kernels)
        return dn_fail(DN_ERROR_DEVICE, "[%s] has no %s form", timed->type->name,
                       network->backend->name);
    DN_TRY(dn_network_enter(network));
    dn_pass pass = network->pass;
    pass.training = timed->trains;
    *forward = *backward = 0.0;
    DN_TRY(time_runs(timed, &pass, kernels->forward, rounds, forward));
    if (!timed->trains || !kernels->backward) return DN_OK;
    return time_runs(timed, &pass, kernels->backward, rounds, backward);
}
