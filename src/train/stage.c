/* What a stage of a training needs: network, optimizer, schedule, loader. See trainer.h. */
#include "core/memory.h"
#include "train/class_sample.h"
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>

enum { DN_IDLE_WORKERS = 8 }; /* where the network does not run on the CPU */

static void forward_message(void *context, const char *sentence)
{
    dn_trainer_say(context, "%s", sentence);
}

void dn_trainer_note_skipped(void *context, const char *sentence)
{
    dn_trainer *trainer = context;
    const size_t count = (size_t)trainer->skipped_count;
    for (size_t i = 0; i < count; i++)
        if (strcmp(trainer->skipped[i], sentence) == 0) return;
    dn_trainer_say(trainer, "skipped: %s", sentence);
    char **grown = dn_realloc(trainer->skipped, count * sizeof *grown, (count + 1) * sizeof *grown);
    if (!grown) {
        trainer->skipped_status = DN_ERROR_MEMORY;
        return;
    }
    trainer->skipped = grown;
    grown[count] = dn_strdup(sentence);
    if (grown[count])
        trainer->skipped_count++;
    else
        trainer->skipped_status = DN_ERROR_MEMORY;
}

/* A frozen detector must be there as a whole: what a file of its trunk leaves out would stay as it
 * was drawn. */
static dn_status check_detector(const dn_network *network, const char *weights,
                                const dn_weights_report *report)
{
    int32_t frozen = 0;
    for (int32_t i = 0; i < network->train_from; i++)
        frozen += network->layers[i].param_count > 0 && !network->layers[i].common.dontload;
    if (report->layers_loaded >= frozen) return DN_OK;
    return dn_fail(DN_ERROR_WEIGHTS,
                   "%s: fills %d layers, but the detector of %s, which stays as it is, has %d",
                   weights, report->layers_loaded, network->cfg->name, frozen);
}

static dn_status load_weights(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    dn_network *network = trainer->network;
    if (options->weights) {
        dn_weights_report report;
        DN_TRY(dn_network_load_weights(network, options->weights, &report));
        if (dn_trainer_stage(trainer) == DN_STAGE_MASK)
            DN_TRY(check_detector(network, options->weights, &report));
    }
    if (options->clear) network->seen = 0;
    return DN_OK;
}

static dn_status open_network(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    const dn_network_options network_options = {
        .batch = trainer->stage_batches[trainer->stage_index],
        .threads = options->threads,
        .stage = dn_trainer_stage(trainer),
        .training = true,
        .strict = options->strict,
        .seed = trainer->state.seed,
        .device = options->device,
        .products = options->products,
        .warn = trainer->stage_index == 0 ? forward_message : NULL, /* once is enough */
        .warn_context = trainer,
    };
    return dn_network_create(options->cfg, &network_options, &trainer->network);
}

static dn_status set_schedule(dn_trainer *trainer)
{
    const dn_net_options *net = &trainer->network->net;
    const bool mask_stage = dn_trainer_stage(trainer) == DN_STAGE_MASK;
    const bool last_stage = trainer->stage_index + 1 == trainer->stage_count;
    const int64_t limit = trainer->options->max_iterations - trainer->state.earlier;
    dn_net_batch(net, mask_stage, &trainer->batch, &trainer->parts);
    trainer->subdivisions = trainer->parts * trainer->peers->size;
    trainer->first_part = trainer->parts * trainer->peers->rank;
    DN_TRY(dn_schedule_make(net, mask_stage, trainer->state.seed, &trainer->schedule));
    trainer->last_iteration = trainer->stage_ends[trainer->stage_index];
    if (trainer->options->max_iterations > 0 && (last_stage || limit < trainer->last_iteration))
        trainer->last_iteration = limit > 0 ? limit : 0;
    return DN_OK;
}

/* What an iteration notes. */
static dn_status reserve_notes(dn_trainer *trainer)
{
    const dn_network *network = trainer->network;
    int64_t *floats = &trainer->statistic_floats;
    void *statistics;
    *floats = 0;
    for (int32_t i = network->may_train_from; i < network->run_count; i++)
        for (int32_t k = 0; k < network->layers[i].param_count; k++)
            if (network->layers[i].params[k].flags & DN_PARAM_STATISTIC)
                *floats += network->layers[i].params[k].count;
    trainer->images = dn_alloc((size_t)trainer->batch * DN_SAMPLE_IMAGES * sizeof *trainer->images);
    if (!trainer->images) return DN_ERROR_MEMORY;
    DN_TRY(network->backend->alloc((size_t)*floats * sizeof(float), &statistics));
    trainer->statistics = statistics;
    return DN_OK;
}

/* Multi-scale where the last head wants it; in the mask stage where mask_random says so too. */
static float size_factor(const dn_trainer *trainer)
{
    const dn_network *network = trainer->network;
    dn_head_info head;
    if (trainer->options->plain || dn_network_head(network, network->layer_count, &head) != DN_OK)
        return 1;
    if (dn_trainer_stage(trainer) == DN_STAGE_MASK && !network->net.mask_random) return 1;
    const bool wanted = head.random > 0 || dn_trainer_stage(trainer) == DN_STAGE_MASK;
    return !wanted ? 1 : head.random > 0 && head.random != 1 ? head.random : 1.4f;
}

int32_t dn_trainer_workers(const dn_trainer *trainer)
{
    const dn_network *network = trainer->network;
    if (trainer->options->workers > 0) return trainer->options->workers;
    const int32_t idle = network->backend == &dn_cpu_backend ? 1 : network->options.threads - 1;
    return idle < 1 ? 1 : idle > DN_IDLE_WORKERS ? DN_IDLE_WORKERS : idle;
}

static dn_status open_loader(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    dn_network *network = trainer->network;
    const dn_sizes sizes = {.width = network->input.w,
                            .height = network->input.h,
                            .factor = size_factor(trainer),
                            .step = network->net.resize_step,
                            .seed = trainer->state.seed,
                            .samples = trainer->batch};
    dn_augment augment;
    DN_TRY(dn_augment_make(network, dn_trainer_stage(trainer), options->plain, &augment));
    const dn_loader_options loader_options = {
        .sample = {.stretch = !network->net.letter_box,
                   .augment = augment,
                   .crop = dn_crop_of(network, options->plain),
                   .label_smooth_eps = network->net.label_smooth_eps,
                   .seed = trainer->state.seed},
        .sizes = sizes,
        .backend = network->backend,
        .batch = network->batch,
        .workers = dn_trainer_workers(trainer),
        .first_sample = trainer->state.iteration * trainer->batch,
        .own = trainer->parts * network->batch,
        .own_first = trainer->first_part * network->batch,
        .strict = options->strict,
        .fault = dn_trainer_note_skipped,
        .context = trainer,
    };
    int32_t width, height;
    dn_sizes_largest(&sizes, &width, &height);
    DN_TRY(dn_network_resize(network, width, height)); /* the arena, once for all sizes */
    return dn_loader_create(options->dataset, &loader_options, &trainer->loader);
}

/* The network with the parameters that the stage begins with. */
static dn_status open_parameters(dn_trainer *trainer, const dn_state_file *file,
                                 const float *params)
{
    DN_TRY(open_network(trainer));
    dn_network *network = trainer->network;
    if (file) DN_TRY(dn_state_check_cfg(file, network->cfg));
    DN_TRY(set_schedule(trainer));
    if (params) {
        DN_TRY(network->backend->copy(network->params, params,
                                      (size_t)network->param_floats * sizeof *params));
        network->seen = trainer->state.seen;
        for (int32_t i = 0; i < 3; i++) network->version[i] = (int32_t)trainer->state.version[i];
        dn_network_touch(network);
    } else if (!file) {
        DN_TRY(load_weights(trainer));
    }
    return DN_OK;
}

dn_status dn_stage_open(dn_trainer *trainer, const dn_state_file *file, const float *params)
{
    trainer->pace = 0;
    DN_TRY(dn_collective_agree(trainer->peers, open_parameters(trainer, file, params)));
    dn_network *network = trainer->network;
    DN_TRY(dn_collective_share_block(trainer->peers, network->backend, network->params,
                                     network->param_floats));
    dn_network_touch(network);
    DN_TRY(dn_optimizer_create(network, &trainer->optimizer)); /* an average begins here */
    if (file) DN_TRY(dn_state_apply(file, network, trainer->optimizer));
    DN_TRY(reserve_notes(trainer));
    DN_TRY(dn_validation_open(trainer));
    return open_loader(trainer);
}

void dn_stage_close(dn_trainer *trainer)
{
    dn_loader_free(trainer->loader);
    dn_validation_close(trainer);
    dn_optimizer_free(trainer->optimizer);
    if (trainer->statistics) trainer->network->backend->free(trainer->statistics);
    dn_network_free(trainer->network);
    dn_free(trainer->images);
    trainer->loader = NULL;
    trainer->optimizer = NULL;
    trainer->network = NULL;
    trainer->images = NULL;
    trainer->statistics = NULL;
}
