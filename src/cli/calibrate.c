/* `darknet calibrate [data] cfg weights [images...] -out FILE`: the ranges that int8 needs.
 *
 * Images are files, folders and lists; without any, the data file's train set. Of many, 300 evenly
 * spread ones are taken (-limit N, 0: all). Ctrl-C ends it and writes nothing.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/interrupt.h"
#include "cli/open_network.h"
#include "data/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DN_CALIBRATION_IMAGES = 300 };

static void print_progress(void *context, int64_t done, int64_t count)
{
    (void)context;
    if (isatty(STDERR_FILENO) == 1)
        fprintf(stderr, "\r%lld of %lld images%s", (long long)done, (long long)count,
                done < count ? "" : "\n");
}

/* ---- images ---- */

/* Texts belong to the data sets, or to the arguments. */
typedef struct dn_image_paths {
    const char **items;
    int64_t count;
    dn_dataset **sets; /* (set_count) */
    int set_count;
    dn_data_file *data; /* or NULL */
} dn_image_paths;

static void add(dn_image_paths *paths, const char *path)
{
    paths->items = realloc(paths->items, (size_t)(paths->count + 1) * sizeof *paths->items);
    if (!paths->items) dn_die("out of memory");
    paths->items[paths->count++] = path;
}

static void add_set(dn_image_paths *paths, dn_dataset *set)
{
    paths->sets = realloc(paths->sets, (size_t)(paths->set_count + 1) * sizeof(*paths->sets));
    if (!paths->sets) dn_die("out of memory");
    paths->sets[paths->set_count++] = set;
    const dn_dataset_view *view = dn_dataset_get(set);
    for (int64_t i = 0; i < view->image_count; i++) add(paths, view->images[i].path);
}

static void take_images(const dn_arguments *arguments, bool strict, dn_image_paths *paths)
{
    if (arguments->count == 0) {
        paths->data = dn_open_data_file(arguments);
        add_set(paths, dn_open_data_set(paths->data, DN_DATA_TRAIN, strict));
    }
    for (int i = 0; i < arguments->count; i++) {
        const char *path = arguments->items[i];
        dn_dataset *set = NULL;
        if (dn_is_image_name(path)) {
            add(paths, path);
            continue;
        }
        dn_must(dn_dataset_load(&(dn_dataset_source){.path = path, .images_only = true}, &set));
        add_set(paths, set);
    }
}

static void free_images(dn_image_paths *paths)
{
    for (int i = 0; i < paths->set_count; i++) dn_dataset_free(paths->sets[i]);
    dn_data_file_free(paths->data);
    free(paths->sets);
    free(paths->items);
}

/* ---- the command ---- */

int dn_command_calibrate(dn_arguments *arguments)
{
    dn_calibrate_options options = {
        .progress = print_progress, .message = dn_print_warning, .cancelled = dn_interrupted};
    const char *out = dn_take_text(arguments, "-out", NULL);
    options.limit = dn_take_int(arguments, "-limit", DN_CALIBRATION_IMAGES, 0, INT64_MAX);
    if (dn_take_flag(arguments, "-stretch")) options.fit = DN_FIT_STRETCH;
    dn_common_arguments common = dn_take_common(arguments);
    common.quiet = true;
    common.precision = DN_PRECISION_PLAIN;
    snprintf(common.device, sizeof common.device, "cpu");
    options.strict = common.strict;
    dn_take_files(arguments);
    if (!arguments->weights) dn_die("a weights file is missing");
    if (!out) dn_die("calibrate: -out FILE is missing");
    dn_network *network = dn_open_network(arguments, &common, 1);
    dn_image_paths paths = {0};
    take_images(arguments, common.strict, &paths);
    dn_watch_interrupts();
    dn_calibration report;
    dn_must(dn_calibrate(network, paths.items, paths.count, &options, out, &report));
    printf("Ranges of %d convolutions on %lld images: %s\n", report.layers,
           (long long)report.images, out);
    free_images(&paths);
    dn_network_free(network);
    return report.skipped > 0 ? 1 : 0;
}
