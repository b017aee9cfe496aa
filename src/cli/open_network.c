/* Opening a network as Darknet's programs do: see open_network.h. */
#include "cli/open_network.h"

#include "core/network.h"
#include "core/option.h"
#include "train/parallel.h"

#include <stdio.h>
#include <string.h>

void dn_print_warning(void *context, const char *sentence)
{
    (void)context;
    fprintf(stderr, "%s\n", sentence);
}

/* "-gpus 0,1": of several processes of a machine each takes one, in turn; one process takes the
 * first. -1: not given. */
static int32_t own_gpu(const char *list)
{
    int64_t numbers[64];
    int32_t count = 0;
    const char *at = list;
    if (!list) return -1;
    do {
        char number[8] = "";
        const size_t length = strcspn(at, ",");
        if (length < sizeof number) memcpy(number, at, length);
        if (count == 64 || !dn_parse_int(number, &numbers[count]) || numbers[count] < 0)
            dn_die("-gpus %s: numbers of GPUs with commas between them are wanted", list);
        at += length;
        count++;
    } while (*at++ == ',');
    if (count > 1 && dn_parallel_size() == 1)
        fprintf(
            stderr,
            "-gpus %s: GPU %lld is used; a process for each of them: make MPI=1, mpirun -np %d\n",
            list, (long long)numbers[0], count);
    return (int32_t)numbers[dn_parallel_local_rank() % count];
}

/* Darknet's -nogpu, -i N and -gpus; without them the first GPU, or the CPU where there is none.
 * Where a GPU is asked for and none can be used, that is said, as in a program built without. */
static void take_device(dn_arguments *arguments, char *device, size_t size)
{
    const bool no_gpu = dn_take_flag(arguments, "-nogpu");
    const char *list = dn_take_text(arguments, "-gpus", NULL);
    const int32_t single = (int32_t)dn_take_int(arguments, "-i", -1, -1, 1023);
    const int32_t number = list ? own_gpu(list) : single;
    if (no_gpu) {
        snprintf(device, size, "cpu");
    } else if (number < 0) {
        snprintf(device, size, "auto");
    } else if (dn_device_check("cuda") == DN_OK) {
        snprintf(device, size, "cuda:%d", number);
    } else {
        fprintf(stderr, "%s; the CPU is used\n", dn_error_message());
        snprintf(device, size, "cpu");
    }
}

static dn_precision take_precision(dn_arguments *arguments)
{
    const char *name = dn_take_text(arguments, "-precision", NULL);
    if (!name) return DN_PRECISION_DEFAULT;
    for (int i = DN_PRECISION_F32; dn_precision_names[i]; i++)
        if (strcmp(name, dn_precision_names[i]) == 0) return (dn_precision)i;
    dn_die("-precision %s: f32, exact, plain, bf16, int8, fp16, bf16-everywhere or int8-everywhere "
           "is wanted",
           name);
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
    common.strict = dn_take_flag(arguments, "-strict");
    common.quiet = dn_take_flag(arguments, "-quiet");
    take_device(arguments, common.device, sizeof common.device);
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
    };
    dn_network *network = NULL;
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
