/* Validation on the way: an inference network over the valid set. See trainer.h.
 *
 * The network that judges has no parameters of its own: it looks at those that train, or, where the
 * optimizer keeps an average of them, at that. What chooses the best weights is mask AP, and box
 * AP50 where no masks train or can be compared; of equal ones the higher box AP.
 */
#include "core/memory.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DN_VALID_EVERY = 100 };

static int64_t valid_every(const dn_trainer *trainer)
{
    if (trainer->options->valid_every > 0) return trainer->options->valid_every;
    const int64_t epoch = (trainer->state.images + trainer->batch - 1) / trainer->batch;
    return epoch > DN_VALID_EVERY ? epoch : DN_VALID_EVERY;
}

int32_t dn_trainer_patience(const dn_trainer *trainer)
{
    const int32_t given = trainer->options->patience;
    return given > 0 ? given : trainer->network->net.patience;
}

bool dn_validation_is_due(const dn_trainer *trainer)
{
    const dn_train_state *state = &trainer->state;
    if (!trainer->judge || state->iteration == 0 || state->validated == state->iteration)
        return false;
    return state->iteration % valid_every(trainer) == 0 ||
           state->iteration >= trainer->stage_ends[trainer->stage_index];
}

/* ---- the network that judges ---- */

static void borrow_parameters(dn_network *judge, dn_network *from)
{
    for (int32_t i = 0; i < judge->layer_count; i++)
        for (int32_t k = 0; k < judge->layers[i].param_count; k++)
            judge->layers[i].params[k].data = from->layers[i].params[k].data;
    dn_free(judge->params);
    judge->params = from->params;
}

dn_status dn_validation_open(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    if (!options->valid || trainer->classifier) return DN_OK;
    const dn_network_options network_options = {
        .batch = 1,
        .threads = options->threads,
        .stage = dn_trainer_stage(trainer) == DN_STAGE_DETECTOR ? DN_STAGE_DETECTOR : DN_STAGE_ALL,
        .seed = trainer->state.seed,
    };
    DN_TRY(dn_network_create(options->cfg, &network_options, &trainer->judge));
    borrow_parameters(trainer->judge, trainer->network);
    return DN_OK;
}

void dn_validation_close(dn_trainer *trainer)
{
    if (trainer->judge) trainer->judge->params = NULL; /* borrowed */
    dn_network_free(trainer->judge);
    trainer->judge = NULL;
}

/* ---- one validation ---- */

static bool is_cancelled(void *context)
{
    return dn_trainer_cancelled(context);
}

static void say(void *context, const char *sentence)
{
    dn_trainer_say(context, "validation: %s", sentence);
}

static void tell_progress(void *context, int64_t done, int64_t count)
{
    const dn_train_options *options = ((const dn_trainer *)context)->options;
    if (options->validating) options->validating(options->context, done, count);
}

static dn_status evaluate(dn_trainer *trainer, dn_evaluation **out)
{
    const dn_train_options *options = trainer->options;
    const dn_network *network = trainer->network;
    const dn_validate_options wanted = {
        .predict = {.fit = network->net.letter_box ? DN_FIT_LETTERBOX : DN_FIT_STRETCH},
        .boxes_only = dn_trainer_stage(trainer) == DN_STAGE_DETECTOR,
        .mask_score = true,
        .threads = options->threads,
        .strict = options->strict,
        .context = trainer,
        .progress = tell_progress,
        .message = say,
        .cancelled = is_cancelled,
    };
    const bool averaged = trainer->optimizer->ema_alpha > 0;
    if (averaged) DN_TRY(dn_optimizer_swap_ema(trainer->optimizer, trainer->network));
    dn_network_touch(trainer->judge);
    dn_status status = dn_validate(trainer->judge, options->valid, &wanted, out);
    if (averaged) dn_optimizer_swap_ema(trainer->optimizer, trainer->network);
    return status;
}

/* The number that chooses the best weights. */
static double quality(const dn_evaluation *evaluation)
{
    const dn_metrics *masks = dn_evaluation_metrics(evaluation, DN_MASKS, -1);
    const dn_metrics *boxes = dn_evaluation_metrics(evaluation, DN_BOXES, -1);
    return masks ? masks->numbers[DN_AP] : boxes->numbers[DN_AP50];
}

static dn_status save_figures(dn_trainer *trainer, const dn_evaluation *evaluation, bool is_best)
{
    char stem[DN_PATH_SIZE];
    dn_trainer_path(trainer, "/last", stem);
    DN_TRY(dn_evaluation_save(evaluation, stem));
    if (!is_best) return DN_OK;
    dn_trainer_path(trainer, "/best", stem);
    DN_TRY(dn_evaluation_save(evaluation, stem));
    return dn_checkpoint_export(trainer, dn_best_name(trainer));
}

const char *dn_best_name(const dn_trainer *trainer)
{
    return trainer->stage_index + 1 < trainer->stage_count ? "detector_best" : "best";
}

dn_status dn_trainer_validate(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    dn_train_state *state = &trainer->state;
    const double start = dn_now();
    dn_evaluation *evaluation = NULL;
    DN_TRY(evaluate(trainer, &evaluation));
    const double found = quality(evaluation);
    const double box_ap = dn_evaluation_metrics(evaluation, DN_BOXES, -1)->numbers[DN_AP];
    const bool is_best =
        found > state->best || (found == state->best && box_ap > state->best_box_ap);
    state->validated = state->iteration;
    state->last = found;
    state->stale = is_best ? 0 : state->stale + 1;
    if (is_best) state->best = found;
    if (is_best) state->best_box_ap = box_ap;
    dn_status status = dn_run_folder_log_validation(trainer, evaluation);
    if (status == DN_OK) status = save_figures(trainer, evaluation, is_best);
    status = dn_trainer_forgive(trainer, status);
    const dn_train_validation told = {
        .stage = dn_stage_name(trainer, dn_trainer_stage(trainer)),
        .iteration = state->iteration,
        .evaluation = evaluation,
        .quality = found,
        .is_best = is_best,
        .saved = is_best && status == DN_OK ? trainer->saved : NULL,
        .seconds = dn_now() - start,
    };
    if (status == DN_OK && options->validated) options->validated(options->context, &told);
    dn_evaluation_free(evaluation);
    return status;
}
