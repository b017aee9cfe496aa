/* Calibration for int8: what the inputs of the convolutions hold. See darknet.h.
 *
 * The network runs layer by layer; before each convolution its input, of a mask branch the live
 * RoIs, is added to a histogram. A range is chosen behind the last image (histogram.h). Which
 * values are clipped depends on the images as a set, not on their order.
 */
#include "core/calibration.h"
#include "core/memory.h"
#include "infer/histogram.h"
#include "infer/input.h"

#define DN_CALIBRATION_THRESHOLD 0.05f

typedef struct dn_calibrating {
    dn_network *network;
    dn_calibrate_options options;
    dn_histogram **histograms; /* (layer_count): NULL where there is no convolution */
    dn_calibration report;
} dn_calibrating;

static void observe(void *context, const dn_layer *layer, const dn_pass *pass)
{
    const dn_calibrating *calibrating = context;
    dn_histogram *histogram = calibrating->histograms[layer->index];
    if (!histogram) return;
    const dn_tensor *in = dn_input(layer, pass, 0);
    dn_histogram_add(histogram, in->data, dn_live(layer, pass) * dn_tensor_size(in));
}

static dn_status check(const dn_network *network, int64_t count)
{
    const bool plain = network->options.precision == DN_PRECISION_PLAIN && !network->host;
    if (!plain || network->options.training || network->run_count < network->layer_count)
        return dn_fail(DN_ERROR_ARGUMENT, "calibration needs a whole network for inference on the "
                                          "CPU with precision plain");
    if (count < 1) return dn_fail(DN_ERROR_ARGUMENT, "calibration needs images");
    return DN_OK;
}

static dn_status run_image(dn_calibrating *calibrating, const char *path)
{
    const dn_calibrate_options *options = &calibrating->options;
    dn_network *network = calibrating->network;
    dn_image image;
    dn_status status = dn_image_load(path, &image);
    if (status != DN_OK) {
        if (options->strict || status == DN_ERROR_MEMORY) return status;
        calibrating->report.skipped++;
        dn_fail_prefix(status, "skipped");
        if (options->message) options->message(options->context, dn_error_message());
        return DN_OK;
    }
    status = dn_input_set(network, &image, 1, &(dn_predict_options){.fit = options->fit});
    dn_image_free(&image);
    if (status != DN_OK) return status;
    dn_pass pass = {.batch = 1,
                    .threshold = options->threshold,
                    .nms = -1.0f,
                    .observe = observe,
                    .context = calibrating};
    calibrating->report.images++;
    return dn_run_forward(network, &pass);
}

static dn_status run(dn_calibrating *calibrating, const char *const *images, int64_t count)
{
    const dn_calibrate_options *options = &calibrating->options;
    const int64_t some = options->limit > 0 && options->limit < count ? options->limit : count;
    for (int64_t i = 0; i < some; i++) {
        if (options->cancelled && options->cancelled(options->context))
            return dn_fail(DN_ERROR_CANCELLED, "cancelled");
        DN_TRY(run_image(calibrating, images[i * count / some]));
        if (options->progress) options->progress(options->context, i + 1, some);
    }
    if (calibrating->report.images > 0) return DN_OK;
    return dn_fail(DN_ERROR_DATA, "none of the %lld images can be read", (long long)some);
}

static dn_status reserve(dn_calibrating *calibrating)
{
    const dn_network *network = calibrating->network;
    calibrating->histograms =
        dn_alloc((size_t)network->layer_count * sizeof(*calibrating->histograms));
    if (!calibrating->histograms) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < network->layer_count; i++) {
        if (!dn_calibration_covers(&network->layers[i])) continue;
        dn_histogram *histogram = dn_alloc(sizeof *histogram);
        if (!histogram) return DN_ERROR_MEMORY;
        calibrating->histograms[i] = histogram;
        calibrating->report.layers++;
    }
    if (calibrating->report.layers > 0) return DN_OK;
    return dn_fail(DN_ERROR_CONFIG, "%s: has no [convolutional] to calibrate", network->cfg->name);
}

static dn_status choose(const dn_calibrating *calibrating, dn_range *ranges)
{
    const dn_network *network = calibrating->network;
    for (int32_t i = 0; i < network->layer_count; i++) {
        const dn_histogram *histogram = calibrating->histograms[i];
        const int32_t line = network->layers[i].line;
        if (!histogram) continue;
        if (histogram->broken)
            return dn_fail(DN_ERROR_DATA,
                           "%s:%d: layer %d [convolutional] reads values that are no numbers, or "
                           "beyond 1e30: the weights do not fit, or are damaged",
                           network->cfg->name, line, i);
        if (histogram->values == 0)
            return dn_fail(DN_ERROR_DATA,
                           "%s:%d: layer %d [convolutional] saw no RoI: no box of the images has a "
                           "score above %g; images with objects are wanted",
                           network->cfg->name, line, i, (double)calibrating->options.threshold);
        ranges[i] = dn_histogram_range(histogram);
    }
    return DN_OK;
}

static dn_status write(const dn_calibrating *calibrating, const char *out)
{
    const dn_network *network = calibrating->network;
    dn_range *ranges = dn_alloc((size_t)network->layer_count * sizeof *ranges);
    if (!ranges) return DN_ERROR_MEMORY;
    dn_status status = choose(calibrating, ranges);
    if (status == DN_OK)
        status = dn_calibration_write(network, ranges, calibrating->report.images, out);
    dn_free(ranges);
    return status;
}

static void release(dn_calibrating *calibrating)
{
    for (int32_t i = 0; calibrating->histograms && i < calibrating->network->layer_count; i++)
        dn_free(calibrating->histograms[i]);
    dn_free(calibrating->histograms);
}

dn_status dn_calibrate(dn_network *network, const char *const *images, int64_t count,
                       const dn_calibrate_options *options, const char *out, dn_calibration *report)
{
    dn_calibrating calibrating = {.network = network};
    if (options) calibrating.options = *options;
    if (calibrating.options.threshold <= 0)
        calibrating.options.threshold = DN_CALIBRATION_THRESHOLD;
    DN_TRY(check(network, count));
    dn_status status = reserve(&calibrating);
    if (status == DN_OK) status = run(&calibrating, images, count);
    if (status == DN_OK) status = write(&calibrating, out);
    release(&calibrating);
    if (status == DN_OK && report) *report = calibrating.report;
    return status;
}
