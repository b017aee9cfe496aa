/* Which stages a training has, and whether each of them can run. See trainer.h. */
#include "train/trainer.h"

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

/* Each rank takes an equal share of a batch, in as many parts as the cfg says. */
static dn_status deal_out(const dn_trainer *trainer, const dn_net_options *net, bool mask,
                          int32_t *images)
{
    int32_t batch, subdivisions;
    const dn_collective *peers = trainer->peers;
    *images = 0;
    if (peers->size == 1) return DN_OK;
    dn_net_batch(net, mask, &batch, &subdivisions);
    *images = batch / (subdivisions * peers->size);
    if (*images * subdivisions * peers->size == batch) return DN_OK;
    return dn_fail(DN_ERROR_CONFIG,
                   "%s: %sbatch=%d cannot be dealt out to %d %s with %ssubdivisions=%d each",
                   trainer->options->cfg, mask ? "mask_" : "", batch, peers->size,
                   peers->way->ranks, mask ? "mask_" : "", subdivisions);
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
