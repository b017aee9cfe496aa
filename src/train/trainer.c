/* A training: its stages one after the other, each a loop of iterations. See trainer.h.
 *
 * A run with a seed is the same bit for bit whatever the number of threads, and train 2N equals
 * train N, save, resume N, across the border of two stages too. At that border the parameters go
 * on, the counter, the optimizer and the schedule begin anew. A disk that is full costs
 * checkpoints, not the training: the one before stays, the next one is tried at its time.
 */
#include "train/trainer.h"

#include "core/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DN_SAVE_EVERY = 100, DN_SENTENCE_SIZE = 2048 };

void dn_trainer_say(const dn_trainer *trainer, const char *format, ...)
{
    const dn_train_options *options = trainer->options;
    char sentence[DN_SENTENCE_SIZE];
    va_list arguments;
    if (!options->message) return;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    options->message(options->context, sentence);
}

const char *dn_stage_name(const dn_trainer *trainer, dn_stage stage)
{
    switch (stage) {
    case DN_STAGE_DETECTOR:
        return "detector";
    case DN_STAGE_MASK:
        return "mask";
    case DN_STAGE_ALL:
        break;
    }
    return trainer->classifier ? "classifier" : "joint";
}

/* Darknet's base name: behind the last slash, up to the first dot. */
static void set_base(dn_trainer *trainer)
{
    const char *slash = strrchr(trainer->options->cfg, '/');
    snprintf(trainer->base, sizeof trainer->base, "%s", slash ? slash + 1 : trainer->options->cfg);
    char *dot = strchr(trainer->base, '.');
    if (dot) *dot = '\0';
}

static dn_status open_backup(const dn_trainer *trainer)
{
    const char *path = trainer->options->backup_folder;
    if (strlen(path) > DN_PATH_SIZE - DN_NAME_SIZE)
        return dn_fail(DN_ERROR_IO,
                       "the backup folder's path has %zu bytes, at most %d are allowed",
                       strlen(path), DN_PATH_SIZE - DN_NAME_SIZE);
    return dn_make_folder(path, "backup folder");
}

/* ---- checkpoints ---- */

/* The disk may be full for a while: said, and left to the next time; with `strict` it stops. */
static dn_status save(dn_trainer *trainer, dn_train_progress *progress)
{
    const dn_status status = dn_checkpoint_save(trainer);
    if (status == DN_OK && progress) progress->saved = trainer->saved;
    if (status != DN_ERROR_IO || trainer->options->strict) return status;
    dn_trainer_say(trainer,
                   "%s; training goes on, the checkpoint before stays, the next time to save comes",
                   dn_error_message());
    return DN_OK;
}

dn_status dn_trainer_forgive(const dn_trainer *trainer, dn_status status)
{
    if (status != DN_ERROR_IO || trainer->options->strict) return status;
    dn_trainer_say(trainer, "%s; training goes on", dn_error_message());
    return DN_OK;
}

/* Weights that no later ones replace. */
static dn_status keep(dn_trainer *trainer)
{
    char name[32];
    snprintf(name, sizeof name, "%lld", (long long)trainer->state.iteration);
    return dn_checkpoint_export(trainer, name);
}

/* ---- one stage ---- */

static bool has_lost_patience(const dn_trainer *trainer)
{
    const int32_t patience = dn_trainer_patience(trainer);
    return patience > 0 && trainer->state.stale >= patience;
}

static bool is_done(const dn_trainer *trainer)
{
    return trainer->state.iteration >= trainer->last_iteration || has_lost_patience(trainer);
}

/* What is written behind an iteration. */
static dn_status write_files(dn_trainer *trainer, dn_train_progress *progress)
{
    const dn_train_options *options = trainer->options;
    const int64_t save_every = options->save_every > 0 ? options->save_every : DN_SAVE_EVERY;
    DN_TRY(dn_trainer_forgive(trainer, dn_run_folder_log(trainer, progress)));
    if (options->keep_every > 0 && progress->iteration % options->keep_every == 0)
        DN_TRY(dn_trainer_forgive(trainer, keep(trainer)));
    return progress->iteration % save_every == 0 ? save(trainer, progress) : DN_OK;
}

static dn_status iterate(dn_trainer *trainer, bool *cancelled)
{
    const dn_train_options *options = trainer->options;
    dn_train_progress progress = {.max_iterations = trainer->last_iteration};
    const dn_status status = dn_trainer_step(trainer, &progress);
    *cancelled = status == DN_ERROR_CANCELLED;
    if (*cancelled) return DN_OK;
    DN_TRY(status);
    double *pace = &trainer->pace;
    *pace = *pace > 0 ? .98 * *pace + .02 * progress.seconds : progress.seconds;
    progress.last = trainer->state.last;
    progress.best = trainer->state.best;
    progress.eta_seconds = *pace * (double)(trainer->last_iteration - progress.iteration);
    DN_TRY(dn_collective_agree(trainer->peers, write_files(trainer, &progress)));
    if (options->progress) options->progress(options->context, &progress);
    *cancelled = dn_collective_any(trainer->peers, dn_trainer_cancelled(trainer));
    return DN_OK;
}

/* A validation, and a checkpoint that knows of it. */
static dn_status validate(dn_trainer *trainer, bool *cancelled)
{
    const dn_status status = dn_trainer_validate(trainer, DN_VALIDATION_DUE);
    *cancelled = status == DN_ERROR_CANCELLED;
    if (*cancelled) return DN_OK;
    DN_TRY(status);
    if (has_lost_patience(trainer))
        dn_trainer_say(trainer, "stage %s ends: no better validation in the last %lld",
                       dn_stage_name(trainer, dn_trainer_stage(trainer)),
                       (long long)trainer->state.stale);
    return save(trainer, NULL);
}

static dn_status run_stage(dn_trainer *trainer, bool *cancelled)
{
    for (;;) {
        if (dn_validation_is_due(trainer)) DN_TRY(validate(trainer, cancelled));
        if (*cancelled || is_done(trainer)) return DN_OK;
        DN_TRY(iterate(trainer, cancelled));
        if (*cancelled) return DN_OK;
    }
}

/* ---- from one to the next ---- */

static bool is_last_stage(const dn_trainer *trainer)
{
    const int64_t most = trainer->options->max_iterations;
    return trainer->stage_index + 1 == trainer->stage_count ||
           (most > 0 && trainer->state.earlier + trainer->state.iteration >= most);
}

/* The best weights that validation has found; without any the average of them, where there is one;
 * else what they are now. */
static dn_status choose_parameters(dn_trainer *trainer)
{
    char ending[DN_BASE_SIZE], path[DN_PATH_SIZE];
    const uint64_t seen = trainer->network->seen;
    if (trainer->state.best < 0)
        return trainer->optimizer->ema_alpha > 0
                   ? dn_optimizer_swap_ema(trainer->optimizer, trainer->network)
                   : DN_OK;
    snprintf(ending, sizeof ending, "_%s.weights", dn_best_name(trainer));
    dn_trainer_path(trainer, ending, path);
    const dn_status status = dn_network_load_weights(trainer->network, path, NULL);
    trainer->network->seen = seen;
    return dn_trainer_forgive(trainer, status);
}

static dn_train_state state_of_next_stage(const dn_trainer *trainer)
{
    const dn_network *network = trainer->network;
    const dn_train_state *state = &trainer->state;
    return (dn_train_state){
        .stage = (int64_t)trainer->stages[trainer->stage_index + 1],
        .earlier = state->earlier + state->iteration,
        .images = state->images,
        .seed = state->seed,
        .seen = network->seen,
        .version = {network->version[0], network->version[1], network->version[2]},
        .average_loss = -1,
        .last = -1,
        .best = -1,
    };
}

static dn_status leave_stage(dn_trainer *trainer)
{
    DN_TRY(save(trainer, NULL));
    DN_TRY(dn_trainer_forgive(trainer, dn_checkpoint_export(trainer, "detector")));
    return choose_parameters(trainer);
}

/* The parameters go on; counter, optimizer and schedule begin anew. */
static dn_status enter_next_stage(dn_trainer *trainer)
{
    dn_network *network = trainer->network;
    const dn_backend *backend = network->backend;
    DN_TRY(dn_collective_agree(trainer->peers, leave_stage(trainer)));
    float *params = network->params;
    const dn_train_state state = state_of_next_stage(trainer);
    network->params = NULL; /* outlive their network */
    dn_stage_close(trainer);
    trainer->stage_index++;
    trainer->state = state;
    const dn_status status = dn_stage_open(trainer, NULL, params);
    backend->free(params);
    if (status == DN_OK)
        dn_trainer_say(trainer, "stage %s: %lld iterations",
                       dn_stage_name(trainer, dn_trainer_stage(trainer)),
                       (long long)trainer->last_iteration);
    return status;
}

/* ---- the whole ---- */

/* Where max_iterations ends a training between two validations: how good is it? The state that is
 * saved does not know of it and the best weights stay, so that a training in pieces stays the same
 * as one in one piece. */
static dn_status close_with_figures(dn_trainer *trainer, bool *cancelled)
{
    if (!trainer->options->valid || trainer->state.validated == trainer->state.iteration)
        return DN_OK;
    const dn_status status = dn_trainer_validate(trainer, DN_VALIDATION_BETWEEN);
    *cancelled = status == DN_ERROR_CANCELLED;
    return *cancelled ? DN_OK : status;
}

static dn_status run(dn_trainer *trainer, bool *cancelled)
{
    DN_TRY(dn_trainer_begin(trainer));
    DN_TRY(run_stage(trainer, cancelled));
    while (!*cancelled && !is_last_stage(trainer)) {
        DN_TRY(enter_next_stage(trainer));
        DN_TRY(run_stage(trainer, cancelled));
    }
    DN_TRY(dn_checkpoint_save(trainer));
    if (*cancelled) return DN_OK;
    DN_TRY(dn_checkpoint_export(trainer, "final"));
    return close_with_figures(trainer, cancelled);
}

dn_status dn_trainer_run(dn_trainer *trainer, bool *cancelled)
{
    set_base(trainer);
    dn_status status = open_backup(trainer);
    if (status == DN_OK) status = run(trainer, cancelled);
    status = dn_collective_agree(trainer->peers, status);
    dn_stage_close(trainer);
    return status;
}
