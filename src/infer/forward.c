/* The forward pass: by the inference plan, or layer by layer. See forward.h.
 *
 * The plan is made at the first pass, and again where the input's size has changed; weights that
 * have changed are packed anew.
 */
#include "infer/forward.h"

#include "data/letterbox_bands.h"
#include "infer/input.h"
#include "infer/plan.h"

dn_status dn_infer(dn_network *network, dn_pass *pass)
{
    if (!dn_network_fuses(network)) return dn_run_forward(network, pass);
    dn_plan *plan;
    DN_TRY(dn_plan_of(network, &plan));
    return dn_plan_run(plan, pass);
}

dn_status dn_infer_wait(dn_network *network, bool *waited)
{
    dn_plan *plan;
    *waited = false;
    if (!dn_network_fuses(network) || dn_network_branch(network) < 0) return DN_OK;
    DN_TRY(dn_plan_of(network, &plan));
    if (!plan->device) return DN_OK;
    *waited = true;
    return plan->device->wait(plan);
}

/* ---- the input ---- */

enum { DN_BANDS_A_THREAD = 4 };

typedef struct dn_input_work {
    dn_letterbox_bands bands;
    bool done;
} dn_input_work;

static int32_t next_bands(void *data)
{
    dn_input_work *work = data;
    const int32_t count = work->done ? 0 : work->bands.count;
    work->done = true;
    return count;
}

static void run_band(void *data, int32_t task, int32_t thread)
{
    const dn_input_work *work = data;
    dn_letterbox_band(&work->bands, task, thread);
}

dn_status dn_infer_letterbox(dn_network *network, const dn_image *image,
                             const dn_letterbox *letterbox, float *to)
{
    const int32_t threads = network->options.threads;
    if (network->host || !dn_network_fuses(network))
        return dn_image_to_input(image, letterbox, threads, to);
    dn_plan *plan;
    DN_TRY(dn_plan_of(network, &plan));
    dn_input_work input = {0};
    DN_TRY(dn_letterbox_begin(image, letterbox, threads, DN_BANDS_A_THREAD * threads, to,
                              &input.bands));
    dn_team_run(plan->team, &(dn_team_work){next_bands, run_band, &input});
    dn_letterbox_end(&input.bands);
    return DN_OK;
}

dn_status dn_network_forward(dn_network *network, const float *input, int32_t batch,
                             float threshold)
{
    dn_pass pass = {.batch = batch, .threshold = threshold, .nms = -1.0f};
    DN_TRY(dn_input_set_floats(network, input, batch, &pass.floats));
    DN_TRY(dn_infer(network, &pass));
    return network->backend->synchronise();
}
