/* COCO result files: see coco_results.h.
 *
 * Boxes and masks are two files, since COCO's tool takes a box's area for a mask's where both stand
 * in one. Numbers have as many digits as it takes to read the same double again.
 */
#include "cli/coco_results.h"

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/result_json.h"
#include "core/json_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DN_PATH_SIZE = 4096 };

typedef struct dn_result_file {
    FILE *stream; /* NULL: not wanted */
    char path[DN_PATH_SIZE];
    int64_t count;
} dn_result_file;

struct dn_coco_results {
    const dn_dataset_view *view;
    bool from_json;
    dn_result_file files[DN_KINDS];
};

/* Darknet's 80 classes are COCO's ids 1..90 without ten that are not used. */
static int64_t coco_category(int32_t class_id)
{
    static const int32_t gaps[] = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83};
    int64_t id = class_id + 1;
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++)
        if (id >= gaps[i]) id++;
    return id;
}

/* The JSON's id, else the number behind the last '_' or at the start of the file's name. */
static int64_t image_id_of(const dn_coco_results *results, int64_t image)
{
    const dn_dataset_image *info = &results->view->images[image];
    if (results->from_json) return info->id;
    const char *slash = strrchr(info->path, '/'), *name = slash ? slash + 1 : info->path;
    const char *under = strrchr(name, '_');
    return strtoll(under ? under + 1 : name, NULL, 10);
}

static void open_file(dn_result_file *file, const char *folder, const char *name, const char *end)
{
    const int length = snprintf(file->path, DN_PATH_SIZE, "%s/%s%s.json", folder, name, end);
    if (length < 0 || length >= DN_PATH_SIZE) dn_die("%s: the path is too long", file->path);
    file->stream = dn_open_output(file->path);
    fprintf(stderr, "Results: %s\n", file->path);
    fprintf(file->stream, "[\n");
}

dn_coco_results *dn_open_coco_results(const char *folder, const char *name, bool masks,
                                      const dn_dataset_view *view, bool from_json)
{
    dn_coco_results *results = calloc(1, sizeof *results);
    if (!results) dn_die("out of memory");
    results->view = view;
    results->from_json = from_json;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        dn_die("%s: cannot make the results folder: %s", folder, strerror(errno));
    open_file(&results->files[DN_BOXES], folder, name, "");
    if (masks) open_file(&results->files[DN_MASKS], folder, name, "_segm");
    return results;
}

static void write_place(FILE *stream, dn_kind kind, const dn_eval_detection *detection)
{
    if (kind == DN_MASKS) {
        fputs("\"segmentation\":", stream);
        dn_json_rle(stream, detection->mask);
        return;
    }
    fputs("\"bbox\":[", stream);
    for (int i = 0; i < 4; i++) {
        if (i > 0) fputs(", ", stream);
        dn_json_number(stream, detection->bbox[i]);
    }
    fputc(']', stream);
}

void dn_write_coco_results(dn_coco_results *results, int64_t image, const dn_eval_image *found)
{
    const long long id = (long long)image_id_of(results, image);
    for (int32_t kind = 0; kind < DN_KINDS; kind++) {
        dn_result_file *file = &results->files[kind];
        for (int64_t i = 0; file->stream && i < found->detection_count[kind]; i++) {
            const dn_eval_detection *detection = &found->detections[kind][i];
            const int64_t category = results->from_json
                                         ? results->view->category_ids[detection->class_id]
                                         : coco_category(detection->class_id);
            fprintf(file->stream, "%s{\"image_id\":%lld, \"category_id\":%lld, ",
                    file->count++ ? ",\n" : "", id, (long long)category);
            write_place(file->stream, (dn_kind)kind, detection);
            fputs(", \"score\":", file->stream);
            dn_json_number(file->stream, detection->score);
            fputc('}', file->stream);
        }
    }
}

void dn_close_coco_results(dn_coco_results *results)
{
    for (int32_t kind = 0; kind < DN_KINDS; kind++) {
        dn_result_file *file = &results->files[kind];
        if (!file->stream) continue;
        fprintf(file->stream, "\n]\n");
        dn_close_output(file->stream, file->path);
    }
    free(results);
}
