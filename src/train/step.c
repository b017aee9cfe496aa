/* One iteration: load, forward, backward, in `subdivisions` parts, and one update. See trainer.h.
 *
 * The optimizer gets gradients summed over images. A signal is looked for between the parts: what
 * an unfinished iteration has changed until then are the rolling statistics of batch normalisation
 * alone, and those are put back, so that the saved state is that of the iteration before.
 */
#include "core/memory.h"
#include "math/clock.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum dn_statistics_way {
    DN_STATISTICS_KEEP,
    DN_STATISTICS_PUT_BACK,
} dn_statistics_way;

static dn_status move_statistics(const dn_trainer *trainer, dn_statistics_way way)
{
    const dn_network *network = trainer->network;
    const dn_backend *backend = network->backend;
    float *kept = trainer->statistics;
    for (int32_t i = network->may_train_from; i < network->run_count; i++)
        for (int32_t k = 0; k < network->layers[i].param_count; k++) {
            const dn_param *param = &network->layers[i].params[k];
            if (!(param->flags & DN_PARAM_STATISTIC)) continue;
            const size_t bytes = (size_t)param->count * sizeof *kept;
            if (way == DN_STATISTICS_KEEP)
                DN_TRY(backend->copy(kept, param->data, bytes));
            else
                DN_TRY(backend->copy(param->data, kept, bytes));
            kept += param->count;
        }
    return DN_OK;
}

static dn_status find_numbers(const dn_trainer *trainer, const float *values, int64_t count,
                              bool *numbers)
{
    return dn_optimizer_sees_numbers(trainer->optimizer, values, count,
                                     trainer->network->options.threads, numbers);
}

/* "layer 12 [convolutional] (line 34)" of the first trained layer whose output is no number; they
 * all stay readable to their backward. Else the first one with such a loss. */
static dn_status find_culprit(const dn_trainer *trainer, const dn_layer **culprit)
{
    const dn_network *network = trainer->network;
    for (int32_t i = network->train_from; i < network->run_count; i++) {
        const dn_layer *layer = &network->layers[i];
        const int64_t live = layer->rois ? layer->rois->count : network->batch;
        bool numbers;
        *culprit = layer;
        DN_TRY(
            find_numbers(trainer, layer->out.data, live * dn_tensor_size(&layer->out), &numbers));
        if (!numbers) return DN_OK;
    }
    int32_t at = network->train_from;
    while (at < network->run_count - 1 && isfinite(network->layers[at].loss)) at++;
    *culprit = &network->layers[at];
    return DN_OK;
}

static void note_images(dn_trainer *trainer, int32_t part, const dn_batch *batch)
{
    const int32_t count = trainer->network->batch;
    for (int32_t i = 0; i < count; i++) {
        const dn_sample *sample = &batch->samples[i];
        int64_t *images = trainer->images + ((int64_t)part * count + i) * DN_SAMPLE_IMAGES;
        for (int32_t k = 0; k < DN_SAMPLE_IMAGES; k++)
            images[k] = k < sample->image_count ? sample->images[k] : -1;
    }
}

/* The files that the iteration has seen in its first `parts` parts. */
static void tell_images(const dn_trainer *trainer, int32_t parts)
{
    const dn_dataset_image *images = dn_dataset_get(trainer->options->dataset)->images;
    const int64_t count = (int64_t)parts * trainer->network->batch * DN_SAMPLE_IMAGES;
    dn_trainer_say(trainer, "images of iteration %lld:", (long long)trainer->state.iteration + 1);
    for (int64_t i = 0; i < count; i++)
        if (trainer->images[i] >= 0)
            dn_trainer_say(trainer, "  %s", images[trainer->images[i]].path);
}

/* Where in the training it happened, before what the message says already. */
static dn_status stop_at_iteration(const dn_trainer *trainer, dn_status status)
{
    char reason[512];
    snprintf(reason, sizeof reason, "%s", dn_error_message());
    return dn_fail(status, "%s: iteration %lld of stage %s: %s; the last checkpoint is untouched",
                   trainer->network->cfg->name, (long long)trainer->state.iteration + 1,
                   dn_stage_name(trainer, dn_trainer_stage(trainer)), reason);
}

static dn_status not_a_number(const dn_trainer *trainer, int32_t part)
{
    const dn_layer *layer;
    DN_TRY(find_culprit(trainer, &layer));
    tell_images(trainer, part + 1);
    dn_fail(DN_ERROR_DATA,
            "layer %d [%s] (line %d) is the first whose values are not numbers, and so is the loss",
            layer->index, layer->type->name, layer->line);
    return stop_at_iteration(trainer, DN_ERROR_DATA);
}

dn_status dn_check_parameters(const dn_trainer *trainer)
{
    const dn_network *network = trainer->network;
    for (int32_t i = network->may_train_from; i < network->run_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            bool numbers;
            DN_TRY(find_numbers(trainer, layer->params[k].data, layer->params[k].count, &numbers));
            if (numbers) continue;
            return dn_fail(DN_ERROR_DATA,
                           "%s:%d: behind iteration %lld of stage %s the %s of layer %d [%s] are "
                           "not numbers; the last checkpoint is untouched",
                           network->cfg->name, layer->line, (long long)trainer->state.iteration,
                           dn_stage_name(trainer, dn_trainer_stage(trainer)), layer->params[k].name,
                           layer->index, layer->type->name);
        }
    }
    return DN_OK;
}

/* The joint stage lets the masks in slowly: nothing at first, all after mask_warmup iterations. */
static float mask_scale_factor(const dn_trainer *trainer)
{
    const int32_t warmup = trainer->network->net.mask_warmup;
    if (dn_trainer_stage(trainer) != DN_STAGE_ALL || trainer->state.iteration >= warmup) return 1;
    return (float)trainer->state.iteration / (float)warmup;
}

/* Forward and backward of one part; adds to *loss and to the statistics of the masks. */
static dn_status run_part(dn_trainer *trainer, int32_t part, dn_train_progress *progress,
                          double *loss)
{
    dn_network *network = trainer->network;
    dn_batch batch;
    const double waiting = dn_now();
    DN_TRY(dn_loader_next(trainer->loader, &batch));
    progress->load_seconds += dn_now() - waiting;
    note_images(trainer, part, &batch);
    DN_TRY(dn_network_resize(network, batch.width, batch.height));
    DN_TRY(dn_network_set_input(network, batch.input, network->batch));
    dn_pass pass = {.batch = network->batch,
                    .nms = -1.0f,
                    .iteration = trainer->state.iteration * trainer->subdivisions +
                                 trainer->first_part + part,
                    .truth = batch.truth};
    DN_TRY(dn_run_forward(network, &pass));
    const double part_loss = dn_network_loss(network);
    if (!isfinite(part_loss)) return not_a_number(trainer, part);
    DN_TRY(dn_run_backward(network, NULL));
    *loss += part_loss / trainer->subdivisions;
    progress->mask_iou += network->mask_statistics.iou_sum;
    progress->rois += network->mask_statistics.rois;
    return DN_OK;
}

static dn_status run_parts(dn_trainer *trainer, dn_train_progress *progress, double *loss)
{
    if (trainer->subdivisions > 1) DN_TRY(move_statistics(trainer, DN_STATISTICS_KEEP));
    for (int32_t part = 0; part < trainer->parts; part++) {
        if (part > 0 && dn_trainer_cancelled(trainer))
            return dn_fail(DN_ERROR_CANCELLED, "cancelled");
        DN_TRY(run_part(trainer, part, progress, loss));
    }
    return DN_OK;
}

/* What the ranks have found becomes that of the whole batch: sums of losses and gradients, the
 * average of the rolling statistics, in the place of those before. */
static dn_status combine(const dn_trainer *trainer, dn_train_progress *progress, double *loss)
{
    const dn_network *network = trainer->network;
    dn_collective *peers = trainer->peers;
    if (peers->size == 1) return DN_OK;
    double sums[] = {*loss, progress->mask_iou, (double)progress->rois};
    dn_collective_sum(peers, sums, 3);
    *loss = sums[0];
    progress->mask_iou = sums[1];
    progress->rois = (int64_t)sums[2];
    DN_TRY(dn_collective_sum_block(peers, network->backend, network->param_grads,
                                   network->param_floats - network->param_grad_start));
    DN_TRY(move_statistics(trainer, DN_STATISTICS_KEEP));
    DN_TRY(dn_collective_mean_block(peers, network->backend, trainer->statistics,
                                    trainer->statistic_floats));
    return move_statistics(trainer, DN_STATISTICS_PUT_BACK);
}

dn_status dn_trainer_step(dn_trainer *trainer, dn_train_progress *progress)
{
    dn_network *network = trainer->network;
    dn_train_state *state = &trainer->state;
    const double start = dn_now();
    double loss = 0;
    dn_network_thaw(network, state->iteration + 1);
    network->mask_scale_factor = mask_scale_factor(trainer);
    network->mask_statistics = (dn_mask_statistics){0};
    dn_status status = dn_collective_agree(trainer->peers, run_parts(trainer, progress, &loss));
    if (status == DN_ERROR_CANCELLED) DN_TRY(move_statistics(trainer, DN_STATISTICS_PUT_BACK));
    DN_TRY(status);
    DN_TRY(combine(trainer, progress, &loss));
    progress->rate = dn_schedule_rate(&trainer->schedule, state->iteration + 1);
    status = dn_optimizer_step(trainer->optimizer, network, progress->rate, trainer->batch);
    if (status != DN_OK) {
        tell_images(trainer, trainer->parts);
        return stop_at_iteration(trainer, status);
    }
    state->iteration++;
    network->seen += (uint64_t)trainer->batch;
    state->average_loss = state->average_loss < 0 ? loss : .9 * state->average_loss + .1 * loss;
    progress->stage = dn_stage_name(trainer, dn_trainer_stage(trainer));
    progress->iteration = state->iteration;
    progress->images = state->iteration * trainer->batch;
    progress->width = network->input.w;
    progress->height = network->input.h;
    progress->loss = loss;
    progress->average_loss = state->average_loss;
    progress->mask_iou = progress->rois > 0 ? progress->mask_iou / (double)progress->rois : -1;
    progress->seconds = dn_now() - start;
    return DN_OK;
}
