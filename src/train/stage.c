/* The stages of a training and what each of them needs. See trainer.h. */
#include "core/memory.h"
#include "train/class_sample.h"
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>

enum { DN_IDLE_WORKERS = 8 }; /* where the network does not run on the CPU */

/* ---- which stages ---- */

/* Images with classes are for classifiers, and only for them. */
static dn_status check_classes(const dn_trainer *trainer, const dn_network *network)
{
    const char *cfg = trainer->options->cfg;
    const dn_dataset_view *view = dn_dataset_get(trainer->options->dataset);
    const int32_t classes = dn_network_classes(network);
    if (!dn_network_is_classifier(network))
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: is no classifier: it has heads, or does not end with [softmax], "
                       "[logistic] or [cost]",
                       cfg);
    if (!view->has_image_classes)
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: is a classifier, but the images of the data set have objects, not "
                       "classes (labels=)",
                       cfg);
    if (view->class_count == classes) return DN_OK;
    return dn_fail(DN_ERROR_CONFIG, "%s: has %d classes, the data set %d", cfg, classes,
                   view->class_count);
}

/* What would train in silence without learning, or fail at the first image of a rare class. */
static dn_status check_dataset(const dn_trainer *trainer, const dn_network *network, dn_stage stage)
{
    const dn_train_options *options = trainer->options;
    const dn_dataset_view *view = dn_dataset_get(options->dataset);
    const int32_t classes = dn_network_classes(network);
    if (view->has_image_classes || dn_network_is_classifier(network))
        return check_classes(trainer, network);
    if (stage != DN_STAGE_MASK && view->class_count > classes)
        return dn_fail(
            DN_ERROR_CONFIG, "%s: has classes=%d, but the data set has %d (the last one is \"%s\")",
            options->cfg, classes, view->class_count, view->names[view->class_count - 1]);
    if (stage == DN_STAGE_DETECTOR || dn_network_roialign(network) < 0) return DN_OK;
    for (int64_t i = 0; i < view->object_count; i++)
        if (view->objects[i].kind != DN_OBJECT_BOX && !view->objects[i].crowd) return DN_OK;
    return dn_fail(DN_ERROR_DATA,
                   "none of the %lld objects of the data set has a mask: a mask branch learns "
                   "nothing from boxes",
                   (long long)view->object_count);
}

/* The stages that mask_from asks for. */
static void schedule_stages(dn_trainer *trainer, const dn_net_options *net)
{
    const bool detector_first = net->mask_from > 0;
    trainer->stage_count = detector_first ? 2 : 1;
    trainer->stages[0] = detector_first ? DN_STAGE_DETECTOR : DN_STAGE_MASK;
    trainer->stages[1] = DN_STAGE_MASK;
    if (net->mask_from < 0) trainer->stages[0] = DN_STAGE_ALL;
}

/* Each process takes an equal share of a batch, in as many parts as the cfg says. */
static dn_status deal_out(const dn_trainer *trainer, const dn_net_options *net, bool mask,
                          int32_t *images)
{
    int32_t batch, subdivisions;
    const int32_t processes = dn_parallel_size();
    *images = 0;
    if (processes == 1) return DN_OK;
    dn_net_batch(net, mask, &batch, &subdivisions);
    *images = batch / (subdivisions * processes);
    if (*images * subdivisions * processes == batch) return DN_OK;
    return dn_fail(DN_ERROR_CONFIG,
                   "%s: %sbatch=%d cannot be dealt out to %d processes with %ssubdivisions=%d each",
                   trainer->options->cfg, mask ? "mask_" : "", batch, processes,
                   mask ? "mask_" : "", subdivisions);
}

static dn_status check_stages(dn_trainer *trainer, const dn_network *network)
{
    const dn_train_options *options = trainer->options;
    const dn_net_options *net = &network->net;
    for (int32_t i = 0; i < trainer->stage_count; i++) {
        dn_schedule schedule;
        const bool mask = trainer->stages[i] == DN_STAGE_MASK;
        DN_TRY(check_dataset(trainer, network, trainer->stages[i]));
        const dn_status status = dn_schedule_make(net, mask, options->seed, &schedule);
        if (status != DN_OK) return dn_fail_prefix(status, "%s", options->cfg);
        DN_TRY(deal_out(trainer, net, mask, &trainer->stage_batches[i]));
        trainer->stage_ends[i] = schedule.max_batches;
        if (i + 1 < trainer->stage_count && net->mask_from < schedule.max_batches)
            trainer->stage_ends[i] = net->mask_from;
    }
    if (trainer->stages[0] == DN_STAGE_MASK && !options->weights && !options->state)
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: a mask branch trains on a detector: name its weights file",
                       options->cfg);
    return DN_OK;
}

dn_status dn_trainer_plan(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    dn_network *network;
    DN_TRY(dn_network_outline(options->cfg, &network));
    trainer->stage_count = 1;
    trainer->stages[0] = options->stage;
    trainer->classifier = dn_network_is_classifier(network);
    if (options->schedule) schedule_stages(trainer, &network->net);
    dn_status status = DN_OK;
    if (options->schedule && dn_network_roialign(network) < 0)
        status = dn_fail(DN_ERROR_CONFIG, "%s: has no [roialign]: there is no mask branch to train",
                         options->cfg);
    if (status == DN_OK) status = check_stages(trainer, network);
    dn_network_free(network);
    return status;
}

/* ---- opening one ---- */

static void forward_message(void *context, const char *sentence)
{
    dn_trainer_say(context, "%s", sentence);
}

/* Says it now, and keeps it for the list at the end. */
static void note_skipped(void *context, const char *sentence)
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
    trainer->subdivisions = trainer->parts * dn_parallel_size();
    trainer->first_part = trainer->parts * dn_parallel_rank();
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
    int64_t floats = 0;
    void *statistics;
    for (int32_t i = network->may_train_from; i < network->run_count; i++)
        for (int32_t k = 0; k < network->layers[i].param_count; k++)
            if (network->layers[i].params[k].flags & DN_PARAM_STATISTIC)
                floats += network->layers[i].params[k].count;
    trainer->images = dn_alloc((size_t)trainer->batch * DN_SAMPLE_IMAGES * sizeof *trainer->images);
    if (!trainer->images) return DN_ERROR_MEMORY;
    DN_TRY(network->backend->alloc((size_t)floats * sizeof(float), &statistics));
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
        .fault = note_skipped,
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
    DN_TRY(dn_parallel_agree(open_parameters(trainer, file, params)));
    dn_network *network = trainer->network;
    DN_TRY(dn_parallel_share_block(network->backend, network->params, network->param_floats));
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
