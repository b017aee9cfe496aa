/* Opening a network as Darknet's programs do: see open_network.h. */
#include "cli/open_network.h"

#include "core/backend.h"
#include "core/network.h"
#include "train/devices.h"
#include "train/parallel.h"

#include <stdio.h>
#include <string.h>

void dn_print_warning(void *context, const char *sentence)
{
    (void)context;
    fprintf(stderr, "%s\n", sentence);
}

/* Of several processes on a machine each takes one GPU, in turn. */
static void take_own(dn_devices *gpus)
{
    if (dn_parallel_size() == 1) return;
    const int32_t local = dn_parallel_local_rank(), all = dn_backend_gpus();
    if (gpus->count > 0)
        memmove(gpus->names[0], gpus->names[local % gpus->count], sizeof gpus->names[0]);
    else if (all > 0)
        snprintf(gpus->names[0], sizeof gpus->names[0], "cuda:%d", (int)(local % all));
    else
        return;
    gpus->count = 1;
}

/* Darknet's -nogpu, -i N and -gpus; without them the first GPU, or the CPU where there is none.
 * Where a GPU is asked for and none can be used, that is said, as in a program built without. */
static void take_device(dn_arguments *arguments, dn_common_arguments *common)
{
    const bool no_gpu = dn_take_flag(arguments, "-nogpu");
    const char *list = dn_take_text(arguments, "-gpus", NULL);
    const int32_t number = (int32_t)dn_take_int(arguments, "-i", -1, -1, 1023);
    char text[sizeof common->devices];
    dn_devices gpus = {0};
    if (list)
        snprintf(text, sizeof text, "cuda:%s", list);
    else
        snprintf(text, sizeof text, "cuda:%d", (int)number);
    if ((list || number >= 0) && (dn_devices_read(text, &gpus) != DN_OK || !*gpus.names[0]))
        dn_die("-gpus %s: numbers of GPUs, each once, with commas between them are wanted", list);
    take_own(&gpus);
    const bool asked = !no_gpu && gpus.count > 0, there = asked && dn_device_check("cuda") == DN_OK;
    if (asked && !there) fprintf(stderr, "%s; the CPU is used\n", dn_error_message());
    const char *device = there ? gpus.names[0] : no_gpu || asked ? "cpu" : "auto";
    common->gpus = there ? gpus.count : 0;
    snprintf(common->device, sizeof common->device, "%s", device);
    snprintf(common->devices, sizeof common->devices, "%s", common->gpus > 1 ? text : device);
}

static const char *precision_name(int number)
{
    return dn_precision_name((dn_precision)number);
}

static dn_precision take_precision(dn_arguments *arguments)
{
    return (dn_precision)dn_take_choice(arguments, "-precision", precision_name, DN_PRECISION_F32,
                                        DN_PRECISION_DEFAULT);
}

/* "-tune_file FILE" is "-tune" with a file of one's own. */
static const char *take_tune(dn_arguments *arguments)
{
    const bool tune = dn_take_flag(arguments, "-tune");
    return dn_take_text(arguments, "-tune_file", tune ? "" : NULL);
}

dn_common_arguments dn_take_common(dn_arguments *arguments)
{
    dn_common_arguments common = {0};
    common.threads = (int32_t)dn_take_int(arguments, "-threads", 0, 0, 1024);
    common.width = (int32_t)dn_take_int(arguments, "-width", 0, 0, 65536);
    common.height = (int32_t)dn_take_int(arguments, "-height", 0, 0, 65536);
    common.seed = (uint64_t)dn_take_int(arguments, "-seed", 1, 0, INT64_MAX);
    common.precision = take_precision(arguments);
    common.calibration = dn_take_text(arguments, "-calibration", NULL);
    common.tune = take_tune(arguments);
    common.strict = dn_take_flag(arguments, "-strict");
    common.quiet = dn_take_flag(arguments, "-quiet");
    take_device(arguments, &common);
    return common;
}

void dn_print_layers(const dn_network *network)
{
    dn_network_info info;
    dn_must(dn_network_get_info(network, &info));
    fprintf(stderr, "layer     filters    size              input                output\n");
    for (int32_t i = 0; i < info.layer_count; i++) {
        char text[512];
        dn_must(dn_network_describe(network, i, text, sizeof text));
        fprintf(stderr, "%5d %s\n", i, text);
    }
    fprintf(stderr, "Total BFLOPS %5.3f\n", (double)info.flops / 1e9);
}

dn_network *dn_open_network(const dn_arguments *arguments, const dn_common_arguments *common,
                            int32_t batch)
{
    if (!arguments->cfg) dn_die("a cfg file is missing");
    const dn_network_options options = {
        .batch = batch,
        .width = common->width,
        .height = common->height,
        .threads = common->threads,
        .strict = common->strict,
        .seed = common->seed,
        .device = common->device,
        .warn = dn_print_warning,
        .precision = common->precision,
        .calibration = common->calibration,
        .tune = common->tune,
    };
    dn_network *network = NULL;
    if (common->gpus > 1)
        fprintf(stderr, "GPU %s is used: several are for trainings\n", common->device + 5);
    dn_must(dn_network_create(arguments->cfg, &options, &network));
    if (!common->quiet) dn_print_layers(network);
    if (!common->quiet && strcmp(dn_network_device(network), "cpu") != 0)
        fprintf(stderr, "Runs on %s\n", dn_network_device(network));
    if (!arguments->weights) return network;
    dn_weights_report report;
    if (!common->quiet) fprintf(stderr, "Loading weights from %s...", arguments->weights);
    const dn_status status = dn_network_load_weights(network, arguments->weights, &report);
    if (status != DN_OK && !common->quiet) fprintf(stderr, "\n");
    dn_must(status);
    if (!common->quiet)
        fprintf(stderr, "Done! Loaded %d of %d layers with weights, seen %llu images\n",
                report.layers_loaded, report.layers_total, (unsigned long long)report.seen);
    if (report.layers_loaded < report.layers_total)
        fprintf(stderr, "%s: ends early: %d layers of %s keep their initial, random values\n",
                arguments->weights, report.layers_total - report.layers_loaded, arguments->cfg);
    return network;
}

int32_t dn_must_have_head(const dn_network *network, const char *cfg)
{
    const int32_t classes = dn_network_is_classifier(network) ? 0 : dn_network_classes(network);
    if (classes < 1) dn_die("%s: has no [yolo] or [region]: it finds no boxes", cfg);
    return classes;
}
