/* `darknet segmenter benchmark`, `detector benchmark`: where the time goes from a file to boxes and
 * encoded masks.
 *
 * Every round takes each image through all steps: its file is decoded, laid into the network's
 * input, run, its boxes and masks are found, its masks encoded as COCO's strings. Each step is
 * timed by itself, by the host's clock around finished work (on a device the mask branch by
 * events), and the whole around all of them. A GPU makes the strings itself, of masks that do not
 * come to the host. Behind that the same images go through a stream, -batch of them at a time, in
 * which all of this overlaps; with -nvjpeg a GPU decodes. Printed are median and 95th percentile
 * over all rounds and images, the stream's images a second, and what the device says of itself when
 * the rounds have ended: name, clocks, power. -out x.json writes them too.
 */
#include "cli/commands.h"
#include "cli/open_network.h"
#include "cli/output.h"
#include "cli/throughput.h"
#include "core/json_text.h"
#include "math/clock.h"
#include "math/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rounds that are not counted: a GPU's plan measures in the first two, and captures a graph then.
 */
enum { DN_WARM_UP = 3 };

typedef enum dn_timed {
    DN_TIMED_DECODE,
    DN_TIMED_INPUT,
    DN_TIMED_DETECTOR,
    DN_TIMED_BRANCH,
    DN_TIMED_BOXES,
    DN_TIMED_MASKS,
    DN_TIMED_WHOLE,
    DN_TIMED,
} dn_timed;

static const char *const step_names[DN_TIMED] = {
    "decode",          "pre-processing", "network", "mask branch",
    "post-processing", "masks to RLE",   "whole",
};

typedef struct dn_bench {
    dn_network *network;
    const char *cfg;
    int32_t threads, batch;
    dn_stream_options options;
    dn_device_info device;
    dn_throughput stream;
    int64_t rounds, images, objects;
    int64_t count;           /* of times so far */
    double *times[DN_TIMED]; /* (rounds * images): ms */
} dn_bench;

static void *allocate(int64_t count, size_t size)
{
    void *memory = malloc((size_t)count * size);
    if (!memory) dn_die("out of memory");
    return memory;
}

/* One image, all steps; `times` (DN_TIMED) in milliseconds. Returns the objects. */
static int32_t run_image(const dn_bench *bench, const char *path, double *times)
{
    dn_image image;
    dn_result *result;
    const double start = dn_now();
    dn_must(dn_image_load(path, &image));
    const double decoded = dn_now();
    dn_must(dn_network_predict(bench->network, &image, &bench->options.predict, &result));
    const double found = dn_now();
    dn_encode_all_masks(result);
    const double done = dn_now();
    const double there = result->rle ? result->masks_ms : 0.0;
    times[DN_TIMED_DECODE] = 1e3 * (decoded - start);
    times[DN_TIMED_INPUT] = result->preprocess_ms;
    times[DN_TIMED_DETECTOR] = result->network_ms - result->branch_ms;
    times[DN_TIMED_BRANCH] = result->branch_ms;
    times[DN_TIMED_BOXES] = result->postprocess_ms - there;
    times[DN_TIMED_MASKS] = there + 1e3 * (done - found);
    times[DN_TIMED_WHOLE] = 1e3 * (done - start);
    const int32_t objects = result->instance_count;
    dn_result_free(result);
    dn_image_free(&image);
    return objects;
}

static void run_all(dn_bench *bench, char **paths)
{
    double times[DN_TIMED];
    for (int round = 0; round < DN_WARM_UP; round++)
        for (int64_t i = 0; i < bench->images; i++) run_image(bench, paths[i], times);
    for (int64_t round = 0; round < bench->rounds; round++)
        for (int64_t i = 0; i < bench->images; i++, bench->count++) {
            bench->objects += run_image(bench, paths[i], times);
            for (int k = 0; k < DN_TIMED; k++) bench->times[k][bench->count] = times[k];
        }
}

static int ascending(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* ", clock 1980 MHz", where there is such a number. */
static void print_number(const char *what, double value, const char *unit)
{
    if (value > 0) printf(", %s %.0f %s", what, value, unit);
}

static void print_device(const dn_bench *bench)
{
    const dn_device_info *device = &bench->device;
    printf("%s", device->name[0] ? device->name : "device without a name");
    print_number("clock", device->clock_mhz, "MHz");
    print_number("memory", device->memory_mhz, "MHz");
    print_number("power", device->power_watts, "W");
    print_number("of at most", device->power_limit_watts, "W");
    printf("\n");
}

static bool decodes_there(const dn_bench *bench)
{
    return bench->options.decoder == DN_DECODE_DEVICE;
}

static double images_per_second(const dn_bench *bench)
{
    return (double)bench->stream.images / bench->stream.seconds;
}

static void print_table(const dn_bench *bench, const dn_network_info *info)
{
    printf("%s, %d x %d, %s, %d thread%s, %s, batch 1: %lld image%s, %lld round%s, %.1f objects "
           "an image\n",
           bench->cfg, info->width, info->height, dn_network_device(bench->network), bench->threads,
           bench->threads == 1 ? "" : "s", dn_network_precision(bench->network),
           (long long)bench->images, bench->images == 1 ? "" : "s", (long long)bench->rounds,
           bench->rounds == 1 ? "" : "s", (double)bench->objects / (double)bench->count);
    print_device(bench);
    printf("%-16s %10s %10s\n", "ms an image", "median", "95 %");
    for (int k = 0; k < DN_TIMED; k++)
        printf("%-16s %10.3f %10.3f\n", step_names[k], bench->times[k][bench->count / 2],
               bench->times[k][bench->count * 95 / 100]);
    printf("stream, batch %d%s: %lld images in %.3f s, %.1f images/s\n", bench->batch,
           decodes_there(bench) ? ", nvJPEG" : "", (long long)bench->stream.images,
           bench->stream.seconds, images_per_second(bench));
}

static void write_device(FILE *file, const dn_device_info *device)
{
    fprintf(file, "\"device_name\": ");
    dn_json_text(file, device->name);
    fprintf(file,
            ", \"clock_mhz\": %.0f, \"memory_mhz\": %.0f, \"power_watts\": %.1f, "
            "\"power_limit_watts\": %.1f",
            device->clock_mhz, device->memory_mhz, device->power_watts, device->power_limit_watts);
}

static void write_json(const dn_bench *bench, const dn_network_info *info, const char *path)
{
    FILE *file = dn_open_output(path);
    fprintf(file, "{\"cfg\": ");
    dn_json_text(file, bench->cfg);
    fprintf(file, ", \"width\": %d, \"height\": %d, \"device\": \"%s\", ", info->width,
            info->height, dn_network_device(bench->network));
    write_device(file, &bench->device);
    fprintf(file,
            ", \"threads\": %d, \"precision\": \"%s\", \"batch\": 1, \"images\": %lld, "
            "\"rounds\": %lld, \"objects\": %.3f, \"ms\": {",
            bench->threads, dn_network_precision(bench->network), (long long)bench->images,
            (long long)bench->rounds, (double)bench->objects / (double)bench->count);
    for (int k = 0; k < DN_TIMED; k++)
        fprintf(file, "%s\"%s\": {\"median\": %.3f, \"p95\": %.3f}", k > 0 ? ", " : "",
                step_names[k], bench->times[k][bench->count / 2],
                bench->times[k][bench->count * 95 / 100]);
    fprintf(file,
            "}, \"stream\": {\"batch\": %d, \"decoder\": \"%s\", \"images\": %lld, "
            "\"seconds\": %.6f, \"images_per_second\": %.3f}}\n",
            bench->batch, decodes_there(bench) ? "nvjpeg" : "cpu", (long long)bench->stream.images,
            bench->stream.seconds, images_per_second(bench));
    dn_close_output(file, path);
}

int dn_command_benchmark(dn_arguments *arguments)
{
    dn_bench bench = {0};
    bench.options.predict.threshold = dn_take_share(arguments, "-thresh", .25f);
    bench.options.predict.nms = dn_take_share(arguments, "-nms", .45f);
    bench.rounds = dn_take_int(arguments, "-times", 50, 1, 1000000);
    bench.batch = (int32_t)dn_take_int(arguments, "-batch", 1, 1, 1024);
    if (dn_take_flag(arguments, "-nvjpeg")) bench.options.decoder = DN_DECODE_DEVICE;
    const char *out = dn_take_text(arguments, "-out", NULL);
    dn_common_arguments common = dn_take_common(arguments);
    common.quiet = true;
    dn_take_files(arguments);
    if (arguments->count == 0) dn_die("benchmark: an image is missing");
    bench.network = dn_open_network(arguments, &common, bench.batch);
    dn_must_have_head(bench.network, arguments->cfg);
    if (strcmp(dn_network_device(bench.network), "cpu") != 0)
        bench.options.predict.masks = DN_MASKS_RLE;
    bench.cfg = arguments->cfg;
    bench.threads = common.threads > 0 ? common.threads : dn_thread_limit();
    bench.images = arguments->count;
    for (int k = 0; k < DN_TIMED; k++)
        bench.times[k] = allocate(bench.rounds * bench.images, sizeof(double));
    run_all(&bench, arguments->items);
    dn_must(dn_device_get_info(dn_network_device(bench.network), &bench.device));
    bench.stream = dn_measure_throughput(bench.network, &bench.options, arguments->items,
                                         bench.images, bench.rounds, bench.batch);
    dn_network_info info;
    dn_must(dn_network_get_info(bench.network, &info));
    for (int k = 0; k < DN_TIMED; k++)
        qsort(bench.times[k], (size_t)bench.count, sizeof(double), ascending);
    print_table(&bench, &info);
    if (out) write_json(&bench, &info, out);
    for (int k = 0; k < DN_TIMED; k++) free(bench.times[k]);
    dn_network_free(bench.network);
    return 0;
}
