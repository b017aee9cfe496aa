/* The training loop: load, forward, backward, update, save; one stage of it.
 *
 * An iteration is one weight update from `batch` images computed in `subdivisions` parts. The
 * optimizer gets gradients summed over images. A run with a seed is the same bit for bit whatever
 * the number of threads, and train 2N equals train N, save, resume N. A loss that is no number
 * stops the run and leaves the last checkpoint as it was.
 */
#include "core/memory.h"
#include "core/network.h"
#include "core/optimizer.h"
#include "core/schedule.h"
#include "train/class_sample.h"
#include "train/loader.h"
#include "train/state.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    DN_PATH_SIZE = 4096,
    DN_BASE_SIZE = 256,
    DN_NAME_SIZE = DN_BASE_SIZE + 32, /* "/<base>_final.mask.weights" */
};

typedef struct dn_trainer {
    const dn_train_options *options;
    dn_network *network;
    dn_loader *loader;
    dn_optimizer *optimizer;
    dn_schedule schedule;
    dn_train_state state;
    int32_t batch, subdivisions;
    int64_t last_iteration;
    char base[DN_BASE_SIZE]; /* of the cfg's name: the checkpoints' first part */
    char saved[DN_PATH_SIZE];
} dn_trainer;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void forward_message(void *context, const char *sentence)
{
    const dn_train_options *options = context;
    if (options->message) options->message(options->context, sentence);
}

/* Darknet's base name: behind the last slash, up to the first dot. */
static void set_base(dn_trainer *trainer)
{
    const char *slash = strrchr(trainer->options->cfg, '/');
    snprintf(trainer->base, sizeof trainer->base, "%s", slash ? slash + 1 : trainer->options->cfg);
    char *dot = strchr(trainer->base, '.');
    if (dot) *dot = '\0';
}

static dn_status make_folder(const char *path)
{
    struct stat info;
    if (strlen(path) > DN_PATH_SIZE - DN_NAME_SIZE)
        return dn_fail(DN_ERROR_IO,
                       "the backup folder's path has %zu bytes, at most %d are allowed",
                       strlen(path), DN_PATH_SIZE - DN_NAME_SIZE);
    if (mkdir(path, 0777) == 0 || (stat(path, &info) == 0 && S_ISDIR(info.st_mode))) return DN_OK;
    return dn_fail(DN_ERROR_IO, "%s: cannot make the backup folder: %s", path, strerror(errno));
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

static dn_status open_network(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    const dn_network_options network_options = {
        .threads = options->threads,
        .stage = options->stage,
        .training = true,
        .strict = options->strict,
        .seed = options->seed,
        .warn = forward_message,
        .warn_context = (void *)(uintptr_t)options,
    };
    DN_TRY(dn_network_create(options->cfg, &network_options, &trainer->network));
    dn_network *network = trainer->network;
    const bool mask_stage = options->stage == DN_STAGE_MASK;
    if (options->weights) {
        dn_weights_report report;
        DN_TRY(dn_network_load_weights(network, options->weights, &report));
        if (mask_stage) DN_TRY(check_detector(network, options->weights, &report));
    }
    if (options->clear) network->seen = 0;
    dn_net_batch(&network->net, mask_stage, &trainer->batch, &trainer->subdivisions);
    const dn_status status =
        dn_schedule_make(&network->net, mask_stage, options->seed, &trainer->schedule);
    if (status != DN_OK) return dn_fail_prefix(status, "%s", options->cfg);
    DN_TRY(dn_optimizer_create(network, &trainer->optimizer));
    trainer->state = (dn_train_state){.average_loss = -1, .seed = options->seed};
    if (options->state)
        DN_TRY(dn_state_load(options->state, network, trainer->optimizer, &trainer->state));
    network->options.seed = trainer->state.seed;
    trainer->last_iteration =
        options->max_iterations > 0 ? options->max_iterations : trainer->schedule.max_batches;
    return DN_OK;
}

/* Images with classes are for classifiers, and only for them. */
static dn_status check_classes(const dn_trainer *trainer)
{
    const char *cfg = trainer->options->cfg;
    const dn_dataset_view *view = dn_dataset_get(trainer->options->dataset);
    const int32_t classes = dn_network_classes(trainer->network);
    if (!dn_network_is_classifier(trainer->network))
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
static dn_status check_dataset(const dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    const dn_dataset_view *view = dn_dataset_get(options->dataset);
    const int32_t classes = dn_network_classes(trainer->network);
    if (view->has_image_classes || dn_network_is_classifier(trainer->network))
        return check_classes(trainer);
    if (options->stage != DN_STAGE_MASK) {
        if (view->class_count <= classes) return DN_OK;
        return dn_fail(
            DN_ERROR_CONFIG, "%s: has classes=%d, but the data set has %d (the last one is \"%s\")",
            options->cfg, classes, view->class_count, view->names[view->class_count - 1]);
    }
    for (int64_t i = 0; i < view->object_count; i++)
        if (view->objects[i].kind != DN_OBJECT_BOX && !view->objects[i].crowd) return DN_OK;
    return dn_fail(DN_ERROR_DATA,
                   "none of the %lld objects of the data set has a mask: a mask branch learns "
                   "nothing from boxes",
                   (long long)view->object_count);
}

static dn_status open_loader(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    dn_augment augment;
    DN_TRY(dn_augment_make(trainer->network, options->stage, options->plain, &augment));
    const dn_loader_options loader_options = {
        .sample = {.stretch = !trainer->network->net.letter_box,
                   .augment = augment,
                   .crop = dn_crop_of(trainer->network, options->plain),
                   .seed = trainer->state.seed},
        .sizes = {.width = trainer->network->input.w,
                  .height = trainer->network->input.h,
                  .samples = trainer->batch},
        .batch = trainer->network->batch,
        .workers = options->workers == 0 ? 1 : options->workers,
        .first_sample = trainer->state.iteration * trainer->batch,
        .strict = options->strict,
        .fault = forward_message,
        .context = (void *)(uintptr_t)options,
    };
    return dn_loader_create(options->dataset, &loader_options, &trainer->loader);
}

/* Writes one checkpoint, e.g. name "last": <backup>/<base>_last.weights and what belongs to it. */
static dn_status save(dn_trainer *trainer, const char *name)
{
    const dn_train_options *options = trainer->options;
    dn_network *network = trainer->network;
    char path[DN_PATH_SIZE];
    if (options->stage == DN_STAGE_MASK) {
        snprintf(path, sizeof path, "%s/%s_%s.mask.weights", options->backup_folder, trainer->base,
                 name);
        DN_TRY(dn_network_save_weights(network, path, network->train_from, -1));
    }
    snprintf(path, sizeof path, "%s/%s_%s.weights", options->backup_folder, trainer->base, name);
    DN_TRY(dn_network_save_weights(network, path, 0, -1));
    memcpy(trainer->saved, path, sizeof path);
    snprintf(path, sizeof path, "%s/%s_%s.state", options->backup_folder, trainer->base, name);
    return dn_state_save(path, network, trainer->optimizer, &trainer->state);
}

static dn_status not_a_number(const dn_trainer *trainer, const dn_batch *batch)
{
    const dn_network *network = trainer->network;
    const dn_dataset_image *images = dn_dataset_get(trainer->options->dataset)->images;
    int32_t at = network->train_from;
    while (at < network->run_count - 1 && isfinite(network->layers[at].loss)) at++;
    return dn_fail(
        DN_ERROR_DATA,
        "iteration %lld: the loss of layer %d [%s] is not a number; the batch begins with "
        "%s; the last checkpoint is untouched",
        (long long)trainer->state.iteration + 1, at, network->layers[at].type->name,
        images[batch->samples[0].image].path);
}

/* One weight update; *progress gets its loss, times and mask statistics. */
static dn_status iterate(dn_trainer *trainer, dn_train_progress *progress)
{
    dn_network *network = trainer->network;
    const double start = now();
    double loss = 0, iou = 0;
    for (int32_t part = 0; part < trainer->subdivisions; part++) {
        dn_batch batch;
        const double waiting = now();
        DN_TRY(dn_loader_next(trainer->loader, &batch));
        progress->load_seconds += now() - waiting;
        memcpy(&network->input.data, &batch.input, sizeof batch.input);
        dn_pass pass = {.batch = network->batch,
                        .nms = -1.0f,
                        .iteration = trainer->state.iteration * trainer->subdivisions + part,
                        .truth = batch.truth};
        DN_TRY(dn_run_forward(network, &pass));
        const double part_loss = dn_network_loss(network);
        if (!isfinite(part_loss)) return not_a_number(trainer, &batch);
        DN_TRY(dn_run_backward(network, NULL));
        loss += part_loss / trainer->subdivisions;
        iou += network->mask_statistics.iou_sum;
        progress->rois += network->mask_statistics.rois;
    }
    progress->rate = dn_schedule_rate(&trainer->schedule, trainer->state.iteration + 1);
    const dn_status stepped =
        dn_optimizer_step(trainer->optimizer, network, progress->rate, trainer->batch);
    if (stepped != DN_OK)
        return dn_fail_prefix(stepped, "iteration %lld", (long long)trainer->state.iteration + 1);
    trainer->state.iteration++;
    network->seen += (uint64_t)trainer->batch;
    double *average = &trainer->state.average_loss;
    *average = *average < 0 ? loss : .9 * *average + .1 * loss;
    progress->iteration = trainer->state.iteration;
    progress->images = trainer->state.iteration * trainer->batch;
    progress->loss = loss;
    progress->average_loss = *average;
    progress->mask_iou = progress->rois > 0 ? iou / (double)progress->rois : -1;
    progress->seconds = now() - start;
    return DN_OK;
}

static dn_status loop(dn_trainer *trainer, bool *cancelled)
{
    const dn_train_options *options = trainer->options;
    const int64_t save_every = options->save_every > 0 ? options->save_every : 100;
    double pace = 0;
    while (trainer->state.iteration < trainer->last_iteration && !*cancelled) {
        dn_train_progress progress = {.max_iterations = trainer->last_iteration};
        DN_TRY(iterate(trainer, &progress));
        pace = pace > 0 ? .98 * pace + .02 * progress.seconds : progress.seconds;
        progress.eta_seconds = pace * (double)(trainer->last_iteration - progress.iteration);
        *cancelled = options->cancelled && options->cancelled(options->context);
        if (progress.iteration % save_every == 0 || *cancelled) {
            DN_TRY(save(trainer, "last"));
            progress.saved = trainer->saved;
        }
        if (options->progress) options->progress(options->context, &progress);
    }
    return *cancelled ? DN_OK : save(trainer, "final");
}

dn_status dn_train(const dn_train_options *options, dn_train_report *report)
{
    if (!options->cfg || !options->backup_folder || !options->dataset)
        return dn_fail(DN_ERROR_ARGUMENT, "training needs a cfg, a backup folder and a data set");
    dn_trainer *trainer = dn_alloc(sizeof *trainer);
    if (!trainer) return DN_ERROR_MEMORY;
    trainer->options = options;
    bool cancelled = false;
    dn_status status;
    set_base(trainer);
    DN_TRY_GOTO(make_folder(options->backup_folder));
    DN_TRY_GOTO(open_network(trainer));
    DN_TRY_GOTO(check_dataset(trainer));
    DN_TRY_GOTO(open_loader(trainer));
    DN_TRY_GOTO(loop(trainer, &cancelled));
    if (report)
        *report =
            (dn_train_report){trainer->state.iteration, trainer->state.average_loss, cancelled};
done:
    dn_loader_free(trainer->loader);
    dn_optimizer_free(trainer->optimizer);
    dn_network_free(trainer->network);
    dn_free(trainer);
    return status;
}
