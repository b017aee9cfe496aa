/* The run's folder <backup>/<base>/: args.txt, what was asked for, and results.csv, what came of
 * it.
 *
 * A resumed run keeps the lines of results.csv up to its position and drops what came after it, so
 * that every iteration is there once. Formats: docs/formats.md.
 */
#include "core/memory.h"
#include "core/new_file.h"
#include "train/trainer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { DN_LOG_EVERY = 10, DN_RESULTS_LIMIT = 1 << 30 };

static const char header[] = "iteration,stage,images,loss,average_loss,rate,seconds,mask_iou,"
                             "box_ap,box_ap50,mask_ap,mask_ap50,top_1,top_5\n";

/* ---- args.txt ---- */

static void write_facts(FILE *file, const dn_trainer *trainer, bool resumed)
{
    const dn_train_options *options = trainer->options;
    const dn_train_state *state = &trainer->state;
    char date[32] = "";
    const time_t seconds = time(NULL);
    struct tm parts;
    if (gmtime_r(&seconds, &parts)) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &parts);
    fprintf(file, "command: %s\n", options->command ? options->command : "dn_train");
    fprintf(file, "date: %s\nversion: ABI %d\n", date, dn_abi_version());
    fprintf(file, "cfg: %s\ndata: %s\n", options->cfg, options->data ? options->data : "");
    fprintf(file, "weights: %s\n", options->weights ? options->weights : "");
    fprintf(file, "images: %lld\nstages:", (long long)state->images);
    for (int32_t i = 0; i < trainer->stage_count; i++)
        fprintf(file, " %s", dn_stage_name(trainer, trainer->stages[i]));
    fprintf(file, "\nseed: %llu\ndevice: %s\nthreads: %d\nworkers: %d\n",
            (unsigned long long)state->seed, dn_network_device(trainer->network),
            trainer->network->options.threads, dn_trainer_workers(trainer));
    fprintf(file, "products: %s\n", dn_products_name(options->products));
    if (resumed)
        fprintf(file, "resumed: %s, iteration %lld\n",
                dn_stage_name(trainer, dn_trainer_stage(trainer)), (long long)state->iteration);
}

/* "key: value" lines, an empty line, a copy of the cfg. A resumed training, whose cfg is the same,
 * adds its own lines behind that. */
static dn_status write_args(const dn_trainer *trainer, bool resumed)
{
    char path[DN_PATH_SIZE], *cfg = NULL;
    size_t length = 0;
    dn_trainer_path(trainer, "/args.txt", path);
    if (!resumed) DN_TRY(dn_read_file(trainer->options->cfg, DN_CFG_LIMIT, &cfg, &length));
    FILE *file = fopen(path, resumed ? "ab" : "wb");
    if (file) write_facts(file, trainer, resumed);
    if (file) fputc('\n', file);
    if (file && cfg) fwrite(cfg, 1, length, file);
    if (file && cfg) fputc('\n', file);
    dn_free(cfg);
    const bool written = file && ferror(file) == 0;
    if (file && fclose(file) == 0 && written) return DN_OK;
    return dn_fail(DN_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
}

/* ---- results.csv ---- */

/* The stage's place in this training, by the name at `name`; -1: none of its stages. */
static int32_t stage_named(const dn_trainer *trainer, const char *name)
{
    for (int32_t i = 0; i < trainer->stage_count; i++) {
        const char *known = dn_stage_name(trainer, trainer->stages[i]);
        const size_t length = strlen(known);
        if (strncmp(name, known, length) == 0 && name[length] == ',') return i;
    }
    return -1;
}

/* Does the line "iteration,stage,images,loss,..." belong to the past of the resumed run? The line
 * of a validation, whose loss is empty, does where the state knows of that validation. */
static bool is_past(const dn_trainer *trainer, const char *line)
{
    char *stage;
    const long long iteration = strtoll(line, &stage, 10);
    const int32_t index = *stage == ',' ? stage_named(trainer, stage + 1) : -1;
    if (index != trainer->stage_index) return index >= 0 && index < trainer->stage_index;
    const char *images = strchr(stage + 1, ',');
    const char *loss = images ? strchr(images + 1, ',') : NULL;
    const bool validation = loss && loss[1] == ',';
    return iteration <= (validation ? trainer->state.validated : trainer->state.iteration);
}

/* Copies the header and the past lines of `text`; a last line without its end was cut. */
static void copy_past(const dn_trainer *trainer, const char *text, FILE *file)
{
    const char *end = strchr(text, '\n');
    for (const char *line = end ? end + 1 : ""; (end = strchr(line, '\n')); line = end + 1)
        if (is_past(trainer, line)) fwrite(line, (size_t)(end + 1 - line), 1, file);
}

static dn_status start_results(dn_trainer *trainer, bool resumed)
{
    char *text = NULL;
    size_t length;
    struct stat info;
    if (resumed && stat(trainer->results, &info) == 0)
        DN_TRY(dn_read_file(trainer->results, DN_RESULTS_LIMIT, &text, &length));
    dn_new_file file;
    dn_status status = dn_new_file_open(&file, trainer->results, DN_FILE_QUICK);
    if (status == DN_OK) {
        fputs(header, file.stream);
        if (text) copy_past(trainer, text, file.stream);
        status = dn_new_file_close(&file, ferror(file.stream) ? dn_new_file_fail(&file) : DN_OK);
    }
    dn_free(text);
    return status;
}

dn_status dn_run_folder_open(dn_trainer *trainer, bool resumed)
{
    char path[DN_PATH_SIZE];
    if (!dn_collective_leads(trainer->peers)) return DN_OK;
    dn_trainer_path(trainer, "", path);
    DN_TRY(dn_make_folder(path, "folder of the run"));
    DN_TRY(write_args(trainer, resumed));
    dn_trainer_path(trainer, "/results.csv", path);
    trainer->results = dn_strdup(path);
    return trainer->results ? start_results(trainer, resumed) : DN_ERROR_MEMORY;
}

static dn_status append(const dn_trainer *trainer, const char *line)
{
    FILE *file = fopen(trainer->results, "ab");
    const bool written = file && fputs(line, file) >= 0;
    if (file && fclose(file) == 0 && written) return DN_OK;
    return dn_fail(DN_ERROR_IO, "%s: cannot write: %s", trainer->results, strerror(errno));
}

dn_status dn_run_folder_log(dn_trainer *trainer, const dn_train_progress *progress)
{
    dn_train_sums *sums = &trainer->state.sums;
    char iou[32] = "", line[512];
    if (!trainer->results) return DN_OK;
    sums->iterations++;
    sums->loss += progress->loss;
    sums->rois += progress->rois;
    trainer->timed++;
    trainer->seconds += progress->seconds;
    if (progress->rois > 0) sums->mask_iou += progress->mask_iou * (double)progress->rois;
    if (progress->iteration % DN_LOG_EVERY != 0) return DN_OK;
    if (sums->rois > 0) snprintf(iou, sizeof iou, "%.6g", sums->mask_iou / (double)sums->rois);
    snprintf(line, sizeof line, "%lld,%s,%lld,%.6g,%.6g,%.6g,%.4g,%s,,,,,,\n",
             (long long)progress->iteration, progress->stage, (long long)progress->images,
             sums->loss / (double)sums->iterations, progress->average_loss, (double)progress->rate,
             trainer->seconds / (double)trainer->timed, iou);
    *sums = (dn_train_sums){0};
    trainer->seconds = 0;
    trainer->timed = 0;
    return append(trainer, line);
}

/* An AP, or nothing where none was measured. */
static void print_number(char text[32], const dn_evaluation *evaluation, dn_kind kind,
                         dn_number number)
{
    const dn_metrics *metrics = dn_evaluation_metrics(evaluation, kind, -1);
    text[0] = '\0';
    if (metrics && metrics->numbers[number] >= 0)
        snprintf(text, 32, "%.6g", metrics->numbers[number]);
}

static dn_status log_figures(const dn_trainer *trainer, const char *figures)
{
    char line[512];
    const int64_t iteration = trainer->state.iteration;
    snprintf(line, sizeof line, "%lld,%s,%lld,,,,,,%s\n", (long long)iteration,
             dn_stage_name(trainer, dn_trainer_stage(trainer)),
             (long long)(iteration * trainer->batch), figures);
    return append(trainer, line);
}

dn_status dn_run_folder_log_objects(const dn_trainer *trainer, const dn_evaluation *evaluation)
{
    char figures[256], boxes[32], boxes_50[32], masks[32], masks_50[32];
    print_number(boxes, evaluation, DN_BOXES, DN_AP);
    print_number(boxes_50, evaluation, DN_BOXES, DN_AP50);
    print_number(masks, evaluation, DN_MASKS, DN_AP);
    print_number(masks_50, evaluation, DN_MASKS, DN_AP50);
    snprintf(figures, sizeof figures, "%s,%s,%s,%s,,", boxes, boxes_50, masks, masks_50);
    return log_figures(trainer, figures);
}

dn_status dn_run_folder_log_classes(const dn_trainer *trainer, const dn_class_accuracy *accuracy)
{
    const double images = (double)accuracy->images;
    char figures[128];
    snprintf(figures, sizeof figures, ",,,,%.6g,%.6g", (double)accuracy->first / images,
             (double)accuracy->among / images);
    return log_figures(trainer, figures);
}
