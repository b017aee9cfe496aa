/* `darknet detector valid`, `segmenter valid`: COCO's figures and result files of the data file's
 * valid set; `detector map`, `segmenter map`: Darknet's report of it.
 *
 * `valid` takes scores from .001, `map` from .005, both with overlaps up to .45 and, for `valid`,
 * the best 100 objects of an image. `valid` writes below <results>, under the name coco_results or
 * -out NAME: NAME.json (boxes), NAME_segm.json (masks, of a segmenter) and, where there are labels,
 * NAME_metrics.json, NAME_pr.csv and NAME_confusion.csv. Images that cannot be read are told and
 * left out.
 */
#include "cli/coco_results.h"
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/metrics.h"
#include "cli/open_network.h"
#include "math/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DN_PATH_SIZE = 4096, DN_COCO_OBJECTS = 100 };

/* A run of either command. */
typedef struct dn_valid {
    dn_data_file *data;
    dn_dataset *dataset;
    const dn_dataset_view *view;
    dn_network *network;
    dn_validate_options options;
    dn_coco_results *results; /* NULL: not written */
    double start;
} dn_valid;

/* ---- callbacks ---- */

static void print_progress(void *context, int64_t done, int64_t all)
{
    const dn_valid *valid = context;
    const double seconds = dn_now() - valid->start;
    const bool terminal = isatty(STDERR_FILENO) == 1;
    if (!terminal && done % 4 != 0 && done != all) return;
    fprintf(stderr, "%s%lld of %lld images, %.1f an s, %.0f s left%s", terminal ? "\r" : "",
            (long long)done, (long long)all, (double)done / seconds,
            seconds / (double)done * (double)(all - done), terminal && done < all ? "" : "\n");
}

static void write_results(void *context, int64_t image, const dn_eval_image *found)
{
    const dn_valid *valid = context;
    if (valid->results) dn_write_coco_results(valid->results, image, found);
}

/* ---- both commands ---- */

/* Options that both know; the command's own must be taken before. */
static void open_valid(dn_arguments *arguments, dn_valid *valid)
{
    dn_validate_options *options = &valid->options;
    options->predict.nms = dn_take_share(arguments, "-nms", .45f);
    if (dn_take_flag(arguments, "-stretch")) options->predict.fit = DN_FIT_STRETCH;
    options->iou_threshold = (double)dn_take_share(arguments, "-iou_thresh", .5f);
    options->map_points = (int32_t)dn_take_int(arguments, "-points", 0, 0, 1000000);
    options->class_agnostic = dn_take_flag(arguments, "-class_agnostic");
    options->boxes_only = strcmp(arguments->task, "segmenter") != 0;
    dn_take_flag(arguments, "-letter_box");
    const dn_common_arguments common = dn_take_common(arguments);
    options->threads = common.threads;
    options->strict = common.strict;
    dn_take_files(arguments);
    dn_end_of_operands(arguments);
    if (!arguments->weights) dn_die("a weights file is missing");
    valid->data = dn_open_data_file(arguments);
    valid->dataset = dn_open_data_set(valid->data, DN_DATA_VALID, common.strict);
    valid->view = dn_dataset_get(valid->dataset);
    valid->network = dn_open_network(arguments, &common, 1);
    dn_must_have_head(valid->network, arguments->cfg);
    options->context = valid;
    options->progress = print_progress;
    options->message = dn_print_warning;
    options->compared = write_results;
}

static dn_evaluation *run(dn_valid *valid)
{
    dn_evaluation *evaluation = NULL;
    valid->start = dn_now();
    dn_must(dn_validate(valid->network, valid->dataset, &valid->options, &evaluation));
    return evaluation;
}

/* Returns the exit code. */
static int close_valid(dn_valid *valid, dn_evaluation *evaluation)
{
    const bool skipped = dn_evaluation_get(evaluation)->skipped > 0;
    dn_evaluation_free(evaluation);
    dn_network_free(valid->network);
    dn_dataset_free(valid->dataset);
    dn_data_file_free(valid->data);
    return skipped ? 1 : 0;
}

/* ---- valid ---- */

static void save(const dn_evaluation *evaluation, const char *folder, const char *name)
{
    char stem[DN_PATH_SIZE];
    const int length = snprintf(stem, sizeof stem, "%s/%s", folder, name);
    if (length < 0 || length >= DN_PATH_SIZE) dn_die("%s: the path is too long", stem);
    dn_must(dn_evaluation_save(evaluation, stem));
    fprintf(stderr, "Figures: %s_metrics.json, %s_pr.csv, %s_confusion.csv\n", stem, stem, stem);
}

int dn_command_valid(dn_arguments *arguments)
{
    dn_valid valid = {0};
    valid.options.predict.threshold = dn_take_share(arguments, "-thresh", .001f);
    const int32_t most =
        (int32_t)dn_take_int(arguments, "-max_objects", DN_COCO_OBJECTS, 0, INT32_MAX);
    valid.options.predict.max_objects = most > 0 ? most : INT32_MAX;
    valid.options.max_detections = most > DN_COCO_OBJECTS ? most : DN_COCO_OBJECTS;
    valid.options.score_threshold = (double)dn_take_share(arguments, "-score_thresh", .25f);
    const bool per_class = dn_take_flag(arguments, "-per_class");
    const char *out = dn_take_text(arguments, "-out", "coco_results");
    open_valid(arguments, &valid);
    const dn_data_file *data = valid.data;
    if (data->eval && strcmp(data->eval, "coco") != 0)
        dn_die("%s: eval=%s is not supported: only coco", data->path, data->eval);
    valid.results = dn_open_coco_results(data->results, out, !valid.options.boxes_only, valid.view,
                                         dn_is_coco(data, valid.view));
    dn_evaluation *evaluation = run(&valid);
    dn_close_coco_results(valid.results);
    fprintf(stderr, "Total Detection Time: %f Seconds\n", dn_now() - valid.start);
    if (valid.view->object_count > 0) {
        dn_print_metrics(evaluation, per_class);
        save(evaluation, data->results, out);
    } else {
        fprintf(stderr, "No labels: nothing is compared\n");
    }
    return close_valid(&valid, evaluation);
}

/* ---- map ---- */

int dn_command_map(dn_arguments *arguments)
{
    dn_valid valid = {.options = {.predict = {.threshold = .005f, .max_objects = INT32_MAX},
                                  .max_detections = INT32_MAX}};
    valid.options.score_threshold = (double)dn_take_share(arguments, "-thresh", .25f);
    open_valid(arguments, &valid);
    if (valid.view->object_count == 0)
        dn_die("%s: has no labels to compare with", valid.data->valid);
    dn_evaluation *evaluation = run(&valid);
    dn_print_darknet_map(evaluation);
    printf("Total Detection Time: %.0f Seconds\n", dn_now() - valid.start);
    return close_valid(&valid, evaluation);
}
