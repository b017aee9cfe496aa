/* Validation on the way: an inference network over the valid set. See trainer.h.
 *
 * The network that judges has no parameters of its own: it looks at those that train, or, where the
 * optimizer keeps an average of them, at that. What chooses the best weights is mask AP, and box
 * AP50 where no masks train or can be compared; of equal ones the higher box AP.
 */
#include "core/memory.h"
#include "core/params.h"
#include "layers/roialign.h"
#include "math/clock.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DN_VALID_EVERY = 100, DN_TOP = 5, DN_OBJECTS = 100 };

/* What a validation has found. */
typedef struct dn_figures {
    dn_evaluation *evaluation; /* NULL: of a classifier */
    dn_class_accuracy accuracy;
    int32_t top;
} dn_figures;

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
    if (!trainer->options->valid || state->iteration == 0 || state->validated == state->iteration)
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
    judge->backend->free(judge->params);
    judge->params = from->params;
    dn_params_are_here(judge);
}

dn_status dn_validation_open(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    if (!options->valid || !dn_collective_leads(trainer->peers)) return DN_OK;
    const dn_network_options network_options = {
        .batch = 1,
        .threads = options->threads,
        .stage = dn_trainer_stage(trainer) == DN_STAGE_DETECTOR ? DN_STAGE_DETECTOR : DN_STAGE_ALL,
        .seed = trainer->state.seed,
        .device = options->device,
        .products = options->products,
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

static void tell_classified(void *context, const dn_class_accuracy *so_far)
{
    const dn_train_options *options = ((const dn_trainer *)context)->options;
    tell_progress(context, so_far->images + so_far->skipped,
                  dn_dataset_get(options->valid)->image_count);
}

static dn_status compare_classes(dn_trainer *trainer, dn_figures *out)
{
    const dn_train_options *options = trainer->options;
    const int32_t classes = dn_network_classes(trainer->judge);
    out->top = classes < DN_TOP ? classes : DN_TOP;
    const dn_class_validate_options wanted = {
        .fit = DN_FIT_CROP,
        .top = out->top,
        .strict = options->strict,
        .context = trainer,
        .progress = tell_classified,
        .message = say,
        .cancelled = is_cancelled,
    };
    return dn_validate_classes(trainer->judge, options->valid, &wanted, &out->accuracy);
}

/* As many as COCO's rules allow, or as the network has masks for. */
static int32_t most_objects(const dn_network *judge)
{
    const int32_t roialign = dn_network_roialign(judge);
    const int32_t most = roialign < 0 ? 0 : dn_roialign_rules(&judge->layers[roialign])->max_rois;
    return most > DN_OBJECTS ? most : DN_OBJECTS;
}

static dn_status compare_objects(dn_trainer *trainer, dn_figures *out)
{
    const int32_t most = most_objects(trainer->judge);
    const dn_train_options *options = trainer->options;
    const dn_network *network = trainer->network;
    const dn_validate_options wanted = {
        .predict = {.fit = network->net.letter_box ? DN_FIT_LETTERBOX : DN_FIT_STRETCH,
                    .max_objects = most},
        .max_detections = most,
        .boxes_only = dn_trainer_stage(trainer) == DN_STAGE_DETECTOR,
        .threads = options->threads,
        .strict = options->strict,
        .context = trainer,
        .progress = tell_progress,
        .message = say,
        .cancelled = is_cancelled,
    };
    return dn_validate(trainer->judge, options->valid, &wanted, &out->evaluation);
}

static dn_status compare(dn_trainer *trainer, dn_figures *out)
{
    const bool averaged = trainer->optimizer->ema_alpha > 0;
    if (averaged) DN_TRY(dn_optimizer_swap_ema(trainer->optimizer, trainer->network));
    dn_network_touch(trainer->judge);
    const dn_status status =
        trainer->classifier ? compare_classes(trainer, out) : compare_objects(trainer, out);
    if (averaged) dn_optimizer_swap_ema(trainer->optimizer, trainer->network);
    return status;
}

/* The number that chooses the best weights. */
static double quality(const dn_figures *figures)
{
    if (!figures->evaluation)
        return (double)figures->accuracy.first / (double)figures->accuracy.images;
    const dn_metrics *masks = dn_evaluation_metrics(figures->evaluation, DN_MASKS, -1);
    const dn_metrics *boxes = dn_evaluation_metrics(figures->evaluation, DN_BOXES, -1);
    return masks ? masks->numbers[DN_AP] : boxes->numbers[DN_AP50];
}

/* The number that decides between equal ones: box AP, a classifier's share among the best classes.
 */
static double second_quality(const dn_figures *figures)
{
    if (!figures->evaluation)
        return (double)figures->accuracy.among / (double)figures->accuracy.images;
    return dn_evaluation_metrics(figures->evaluation, DN_BOXES, -1)->numbers[DN_AP];
}

static dn_status save_evaluation(dn_trainer *trainer, const dn_evaluation *evaluation, bool is_best)
{
    char stem[DN_PATH_SIZE];
    DN_TRY(dn_run_folder_log_objects(trainer, evaluation));
    dn_trainer_path(trainer, "/last", stem);
    DN_TRY(dn_evaluation_save(evaluation, stem));
    if (!is_best) return DN_OK;
    dn_trainer_path(trainer, "/best", stem);
    return dn_evaluation_save(evaluation, stem);
}

static dn_status save_figures(dn_trainer *trainer, const dn_figures *figures, bool is_best)
{
    if (figures->evaluation)
        DN_TRY(save_evaluation(trainer, figures->evaluation, is_best));
    else
        DN_TRY(dn_run_folder_log_classes(trainer, &figures->accuracy));
    return is_best ? dn_checkpoint_export(trainer, dn_best_name(trainer)) : DN_OK;
}

const char *dn_best_name(const dn_trainer *trainer)
{
    return trainer->stage_index + 1 < trainer->stage_count ? "detector_best" : "best";
}

static dn_status measure(dn_trainer *trainer, dn_validation_kind kind)
{
    const dn_train_options *options = trainer->options;
    dn_train_state *state = &trainer->state;
    const double start = dn_now();
    dn_figures figures = {0};
    DN_TRY(compare(trainer, &figures));
    const double found = quality(&figures), second = second_quality(&figures);
    const bool may_be_best = kind == DN_VALIDATION_DUE || state->best < 0;
    const bool is_best = may_be_best && (found > state->best ||
                                         (found == state->best && second > state->best_box_ap));
    state->validated = state->iteration;
    state->last = found;
    state->stale = is_best ? 0 : state->stale + 1;
    if (is_best) state->best = found;
    if (is_best) state->best_box_ap = second;
    const dn_status status = dn_trainer_forgive(trainer, save_figures(trainer, &figures, is_best));
    const dn_train_validation told = {
        .stage = dn_stage_name(trainer, dn_trainer_stage(trainer)),
        .iteration = state->iteration,
        .evaluation = figures.evaluation,
        .accuracy = figures.evaluation ? NULL : &figures.accuracy,
        .top = figures.top,
        .quality = found,
        .is_best = is_best,
        .saved = is_best && status == DN_OK ? trainer->saved : NULL,
        .seconds = dn_now() - start,
    };
    if (status == DN_OK && options->validated) options->validated(options->context, &told);
    dn_evaluation_free(figures.evaluation);
    return status;
}

dn_status dn_trainer_validate(dn_trainer *trainer, dn_validation_kind kind)
{
    dn_collective *peers = trainer->peers;
    DN_TRY(dn_collective_agree(peers, dn_collective_leads(peers) ? measure(trainer, kind) : DN_OK));
    dn_collective_share(peers, &trainer->state, sizeof trainer->state);
    return DN_OK;
}
