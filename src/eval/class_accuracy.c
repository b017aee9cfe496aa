/* How often a classifier is right: see darknet.h. */
#include "core/memory.h"
#include "core/network.h"

typedef struct dn_classing {
    dn_network *network;
    const dn_dataset_view *view;
    dn_class_validate_options options;
    dn_class_score *best; /* (options.top) */
    dn_class_accuracy accuracy;
} dn_classing;

static dn_status check(const dn_network *network, const dn_dataset_view *view)
{
    const int32_t classes = dn_network_classes(network);
    if (!view->has_image_classes)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "the images of the data set have objects, not classes (labels=)");
    if (view->class_count == classes || !dn_network_is_classifier(network)) return DN_OK;
    return dn_fail(DN_ERROR_CONFIG, "%s: has %d classes, the labels of the data set are %d",
                   network->cfg->name, classes, view->class_count);
}

static void count(dn_classing *classing, int32_t class_id)
{
    dn_class_accuracy *accuracy = &classing->accuracy;
    accuracy->images++;
    for (int32_t i = 0; i < classing->options.top; i++) {
        if (classing->best[i].class_id != class_id) continue;
        accuracy->first += i == 0;
        accuracy->among++;
    }
}

static dn_status run_image(dn_classing *classing, int64_t index)
{
    const dn_class_validate_options *options = &classing->options;
    dn_image image;
    dn_status status = dn_image_load(classing->view->images[index].path, &image);
    if (status != DN_OK) {
        if (options->strict || status == DN_ERROR_MEMORY) return status;
        classing->accuracy.skipped++;
        dn_fail_prefix(status, "skipped");
        if (options->message) options->message(options->context, dn_error_message());
        return DN_OK;
    }
    status =
        dn_network_classify(classing->network, &image, options->fit, options->top, classing->best);
    dn_image_free(&image);
    if (status != DN_OK) return status;
    count(classing, classing->view->images[index].class_id);
    if (options->progress) options->progress(options->context, &classing->accuracy);
    return DN_OK;
}

static dn_status run(dn_classing *classing)
{
    const dn_class_validate_options *options = &classing->options;
    for (int64_t i = 0; i < classing->view->image_count; i++) {
        if (options->cancelled && options->cancelled(options->context))
            return dn_fail(DN_ERROR_CANCELLED, "cancelled");
        DN_TRY(run_image(classing, i));
    }
    if (classing->accuracy.images > 0) return DN_OK;
    return dn_fail(DN_ERROR_DATA, "none of the %lld images of the data set can be read",
                   (long long)classing->view->image_count);
}

dn_status dn_validate_classes(dn_network *network, const dn_dataset *dataset,
                              const dn_class_validate_options *options, dn_class_accuracy *out)
{
    dn_classing classing = {
        .network = network,
        .view = dn_dataset_get(dataset),
        .options = options ? *options : (dn_class_validate_options){.fit = DN_FIT_CROP},
    };
    if (classing.options.top < 1) classing.options.top = 1;
    DN_TRY(check(network, classing.view));
    classing.best = dn_alloc((size_t)classing.options.top * sizeof *classing.best);
    if (!classing.best) return DN_ERROR_MEMORY;
    const dn_status status = run(&classing);
    dn_free(classing.best);
    if (status == DN_OK) *out = classing.accuracy;
    return status;
}
