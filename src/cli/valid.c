/* `darknet detector valid`, `segmenter valid`: COCO result files of the data file's valid set.
 *
 * Thresholds .001 (score) and .45 (overlap), as published figures have; -thresh and -nms change
 * them. Boxes go to <results>/coco_results.json (-out NAME: <results>/NAME.json), with segmenter
 * masks to <...>_segm.json beside it: two files, since COCO's tool takes a box's area for a mask's
 * where both stand in one. Image ids are the JSON's, or the number at the end of the file's name.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/open_network.h"
#include "cli/output.h"
#include "cli/result_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DN_PATH_SIZE = 4096, DN_COCO_OBJECTS = 100 };

typedef struct dn_results {
    FILE *file; /* NULL: not wanted */
    char path[DN_PATH_SIZE];
    int64_t count;
} dn_results;

typedef struct dn_valid {
    const dn_dataset_view *view;
    bool from_json;
    dn_results boxes, masks; /* masks: of a segmenter */
} dn_valid;

/* Darknet's 80 classes are COCO's ids 1..90 without ten that are not used. */
static int64_t coco_category(int32_t class_id)
{
    static const int32_t gaps[] = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83};
    int64_t id = class_id + 1;
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++)
        if (id >= gaps[i]) id++;
    return id;
}

static int64_t category_of(const dn_valid *valid, int32_t class_id)
{
    if (valid->from_json && class_id < valid->view->class_count)
        return valid->view->category_ids[class_id];
    return coco_category(class_id);
}

/* The JSON's id, else the number behind the last '_' or at the start of the file's name. */
static int64_t image_id_of(const dn_valid *valid, int64_t image)
{
    const dn_dataset_image *info = &valid->view->images[image];
    if (valid->from_json) return info->id;
    const char *slash = strrchr(info->path, '/'), *name = slash ? slash + 1 : info->path;
    const char *under = strrchr(name, '_');
    return strtoll(under ? under + 1 : name, NULL, 10);
}

static void write_box(dn_valid *valid, int64_t image_id, const dn_result *result,
                      const dn_instance *instance)
{
    const dn_box box = dn_box_clip(instance->box, (float)result->width, (float)result->height);
    fprintf(valid->boxes.file,
            "%s{\"image_id\":%lld, \"category_id\":%lld, \"bbox\":[%f, %f, %f, %f], \"score\":%f}",
            valid->boxes.count++ ? ",\n" : "", (long long)image_id,
            (long long)category_of(valid, instance->class_id), (double)box.x0, (double)box.y0,
            (double)(box.x1 - box.x0), (double)(box.y1 - box.y0), (double)instance->score);
}

static void write_mask(dn_valid *valid, int64_t image_id, const dn_result *result,
                       const dn_instance *instance)
{
    dn_rle rle;
    dn_must(dn_mask_paste(&rle, instance->mask, result->mask_size, instance->mask_box,
                          result->height, result->width, .5f));
    fprintf(valid->masks.file, "%s{\"image_id\":%lld, \"category_id\":%lld, \"segmentation\":",
            valid->masks.count++ ? ",\n" : "", (long long)image_id,
            (long long)category_of(valid, instance->class_id));
    dn_json_rle(valid->masks.file, &rle);
    fprintf(valid->masks.file, ", \"score\":%f}", (double)instance->mask_score);
    dn_rle_free(&rle);
}

static void open_results(dn_results *results, const char *folder, const char *name, const char *end)
{
    const int length = snprintf(results->path, DN_PATH_SIZE, "%s/%s%s.json", folder, name, end);
    if (length < 0 || length >= DN_PATH_SIZE) dn_die("%s: the path is too long", results->path);
    results->file = dn_open_output(results->path);
    fprintf(stderr, "Results: %s\n", results->path);
    fprintf(results->file, "[\n");
}

static void close_results(const dn_results *results)
{
    if (!results->file) return;
    fprintf(results->file, "\n]\n");
    dn_close_output(results->file, results->path);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void print_progress(int64_t done, int64_t all, double seconds)
{
    const bool terminal = isatty(STDERR_FILENO) == 1;
    if (!terminal && done % 4 != 0 && done != all) return;
    fprintf(stderr, "%s%lld of %lld images, %.1f an s, %.0f s left%s", terminal ? "\r" : "",
            (long long)done, (long long)all, (double)done / seconds,
            seconds / (double)done * (double)(all - done), terminal && done < all ? "" : "\n");
}

/* Returns how many images were skipped. */
static int64_t run(dn_network *network, dn_valid *valid, const dn_predict_options *options)
{
    const double start = now();
    int64_t skipped = 0;
    for (int64_t i = 0; i < valid->view->image_count; i++) {
        dn_image image;
        dn_result *result = NULL;
        if (dn_image_load(valid->view->images[i].path, &image) != DN_OK) {
            fprintf(stderr, "skipped: %s\n", dn_error_message());
            skipped++;
            continue;
        }
        dn_must(dn_network_predict(network, &image, options, &result));
        const int64_t id = image_id_of(valid, i);
        for (int32_t k = 0; k < result->instance_count; k++) {
            /* The JSON knows nothing of this class, so it cannot count. */
            if (category_of(valid, result->instances[k].class_id) < 0) continue;
            write_box(valid, id, result, &result->instances[k]);
            if (valid->masks.file && result->instances[k].mask)
                write_mask(valid, id, result, &result->instances[k]);
        }
        dn_result_free(result);
        dn_image_free(&image);
        print_progress(i + 1, valid->view->image_count, now() - start);
    }
    fprintf(stderr, "Total Detection Time: %f Seconds\n", now() - start);
    return skipped;
}

/* Images of a COCO JSON have it as their label file; with images_only others have themselves. */
static bool is_from_json(const dn_dataset_view *view)
{
    return view->image_count > 0 && strcmp(view->images[0].label_path, view->images[0].path) != 0;
}

int dn_command_valid(dn_arguments *arguments)
{
    dn_predict_options options = {
        .threshold = dn_take_share(arguments, "-thresh", .001f),
        .nms = dn_take_share(arguments, "-nms", .45f),
        .fit = dn_take_flag(arguments, "-stretch") ? DN_FIT_STRETCH : DN_FIT_LETTERBOX,
        .max_objects =
            (int32_t)dn_take_int(arguments, "-max_objects", DN_COCO_OBJECTS, 0, INT32_MAX),
    };
    dn_take_flag(arguments, "-letter_box");
    const char *out = dn_take_text(arguments, "-out", "coco_results");
    const dn_common_arguments common = dn_take_common(arguments);
    dn_take_files(arguments);
    if (!arguments->weights) dn_die("a weights file is missing");
    dn_data_file *data = dn_open_data_file(arguments);
    if (data->eval && strcmp(data->eval, "coco") != 0)
        dn_die("%s: eval=%s is not supported: only coco", data->path, data->eval);
    dn_dataset *dataset = dn_open_data_set(data, DN_DATA_VALID, common.strict);
    dn_network *network = dn_open_network(arguments, &common, 1);
    dn_must_have_head(network, arguments->cfg);
    dn_valid valid = {.view = dn_dataset_get(dataset)};
    valid.from_json = is_from_json(valid.view);
    if (mkdir(data->results, 0777) != 0 && errno != EEXIST)
        dn_die("%s: cannot make the results folder: %s", data->results, strerror(errno));
    open_results(&valid.boxes, data->results, out, "");
    if (strcmp(arguments->task, "segmenter") == 0)
        open_results(&valid.masks, data->results, out, "_segm");
    const int64_t skipped = run(network, &valid, &options);
    close_results(&valid.boxes);
    close_results(&valid.masks);
    dn_network_free(network);
    dn_dataset_free(dataset);
    dn_data_file_free(data);
    return skipped > 0 ? 1 : 0;
}
