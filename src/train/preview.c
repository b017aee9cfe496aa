/* Training samples to look at (darknet.h): one batch of a loader of its own.
 *
 * The batch comes from the code that training takes it from, so that what is drawn is what is
 * learned from. The network is only outlined: neither parameters nor activations are needed.
 */
#include "core/memory.h"
#include "train/class_sample.h"
#include "train/loader.h"

typedef struct dn_preview_owner {
    dn_preview preview; /* first: a dn_preview * is a dn_preview_owner * */
    dn_loader *loader;
    int64_t *images;
} dn_preview_owner;

static dn_status take_batch(dn_preview_owner *owner)
{
    dn_preview *preview = &owner->preview;
    dn_batch batch;
    DN_TRY(dn_loader_next(owner->loader, &batch));
    dn_loader_stop(owner->loader);
    preview->input = batch.input;
    preview->truth = batch.truth;
    preview->images = owner->images;
    for (int32_t i = 0; i < preview->count; i++) owner->images[i] = batch.samples[i].images[0];
    return DN_OK;
}

static dn_status fill(dn_preview_owner *owner, const dn_preview_options *options,
                      const dn_network *network)
{
    dn_preview *preview = &owner->preview;
    if (network->input.c != 3)
        return dn_fail(DN_ERROR_CONFIG, "%s: has channels=%d; images have 3", options->cfg,
                       network->input.c);
    preview->count = options->count;
    preview->width = options->width > 0 ? options->width : network->input.w;
    preview->height = options->height > 0 ? options->height : network->input.h;
    owner->images = dn_alloc((size_t)options->count * sizeof *owner->images);
    if (!owner->images) return DN_ERROR_MEMORY;
    dn_augment augment;
    DN_TRY(dn_augment_make(network, options->stage, options->plain, &augment));
    const dn_loader_options loader_options = {
        .sample = {.stretch = !network->net.letter_box,
                   .augment = augment,
                   .crop = dn_crop_of(network, options->plain),
                   .label_smooth_eps = network->net.label_smooth_eps,
                   .seed = options->seed},
        .sizes = {.width = preview->width, .height = preview->height, .samples = preview->count},
        .backend = &dn_cpu_backend,
        .batch = options->count,
        .workers = 1,
        .first_sample = options->first,
    };
    DN_TRY(dn_loader_create(options->dataset, &loader_options, &owner->loader));
    return take_batch(owner);
}

dn_status dn_preview_make(const dn_preview_options *options, dn_preview **out)
{
    if (!options->cfg || !options->dataset)
        return dn_fail(DN_ERROR_ARGUMENT, "a preview needs a cfg and a data set");
    if (options->count < 1 || options->count > 65536 || options->first < 0)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "a preview of %d samples from number %lld on: 1..65536 "
                       "samples from 0 on are allowed",
                       options->count, (long long)options->first);
    dn_network *network;
    DN_TRY(dn_network_outline(options->cfg, &network));
    dn_preview_owner *owner = dn_alloc(sizeof *owner);
    dn_status status = owner ? fill(owner, options, network) : DN_ERROR_MEMORY;
    dn_network_free(network);
    if (status != DN_OK) {
        dn_preview_free(owner ? &owner->preview : NULL);
        return status;
    }
    *out = &owner->preview;
    return DN_OK;
}

void dn_preview_free(dn_preview *preview)
{
    dn_preview_owner *owner = (dn_preview_owner *)preview;
    if (!owner) return;
    dn_loader_free(owner->loader);
    dn_free(owner->images);
    dn_free(owner);
}
