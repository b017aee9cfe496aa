/* `darknet segmenter train`, `detector train`, `classifier train`: data file, stages, progress,
 * signals.
 *
 * `segmenter train` runs the stages that the cfg's mask_from asks for, `detector train` the
 * detector alone (-stage to say otherwise). Darknet's lines go to stdout; on a terminal one line is
 * redrawn. With -resume, or where a "<x>_last.weights" that is named has its "<x>_last.state"
 * beside it, training goes on exactly there.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/interrupt.h"
#include "cli/open_network.h"
#include "cli/report.h"
#include "train/parallel.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the callbacks. */
typedef struct dn_screen {
    bool terminal;
    char folder[4096]; /* of the run: its charts are drawn there */
} dn_screen;

static void print_duration(double seconds)
{
    const long whole = (long)seconds;
    if (whole >= 3600)
        printf("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        printf("%ld:%02ld", whole / 60, whole % 60);
}

static void print_quality(const dn_train_progress *p)
{
    if (p->best < 0) return;
    printf(", %s %.1f, best %.1f", strcmp(p->stage, "classifier") == 0 ? "top 1" : "AP",
           100 * p->last, 100 * p->best);
}

/* Darknet's line, then what is ours; scripts read the first part. */
static void print_line(const dn_train_progress *p)
{
    printf("%lld: %f, %f avg, %f rate, %f seconds, %lld images", (long long)p->iteration, p->loss,
           p->average_loss, (double)p->rate, p->seconds, (long long)p->images);
    if (p->mask_iou >= 0) printf(", %lld masks, IoU %.3f", (long long)p->rois, p->mask_iou);
    printf(", %s %lld of %lld, ETA ", p->stage, (long long)p->iteration,
           (long long)p->max_iterations);
    print_duration(p->eta_seconds);
    print_quality(p);
    printf("\n");
}

/* One line that is drawn again and again, cut at the terminal's edge: a second one would stay. What
 * matters most comes first. */
static void redraw_line(const dn_train_progress *p)
{
    const double images = (double)p->images / (double)p->iteration; /* of an iteration */
    printf("\r\033[K\033[?7l%s %lld/%lld: loss %.4g, avg %.4g, %.1f images/s, ETA ", p->stage,
           (long long)p->iteration, (long long)p->max_iterations, p->loss, p->average_loss,
           p->seconds > 0 ? images / p->seconds : 0);
    print_duration(p->eta_seconds);
    print_quality(p);
    printf(", rate %.3g", (double)p->rate);
    if (p->mask_iou >= 0) printf(", IoU %.3f", p->mask_iou);
    printf("\033[?7h");
}

static void print_progress(void *context, const dn_train_progress *p)
{
    const dn_screen *screen = context;
    if (screen->terminal)
        redraw_line(p);
    else
        print_line(p);
    if (p->saved) printf("%sSaving weights to %s\n", screen->terminal ? "\n" : "", p->saved);
    fflush(stdout);
}

static void print_validating(void *context, int64_t done, int64_t count)
{
    const dn_screen *screen = context;
    if (screen->terminal)
        printf("\r\033[Kvalidation: %lld of %lld images", (long long)done, (long long)count);
    fflush(stdout);
}

static void print_ap(const dn_metrics *metrics, const char *kind)
{
    if (!metrics) return;
    printf(", %s AP %.1f, AP50 %.1f", kind, 100 * metrics->numbers[DN_AP],
           100 * metrics->numbers[DN_AP50]);
}

static void print_accuracy(const dn_train_validation *v)
{
    const double images = (double)v->accuracy->images;
    printf(", top 1: %f, top %d: %f, %f seconds\n", (double)v->accuracy->first / images, v->top,
           (double)v->accuracy->among / images, v->seconds);
}

/* COCO's figures, and Darknet's line of its -map. */
static void print_evaluation(const dn_train_validation *v)
{
    const dn_metrics *boxes = dn_evaluation_metrics(v->evaluation, DN_BOXES, -1);
    print_ap(boxes, "box");
    print_ap(dn_evaluation_metrics(v->evaluation, DN_MASKS, -1), "mask");
    printf(", %f seconds\n mean average precision (mAP@0.50) = %f, or %2.2f %%\n", v->seconds,
           boxes->darknet.ap, 100 * boxes->darknet.ap);
}

static void print_validated(void *context, const dn_train_validation *v)
{
    const dn_screen *screen = context;
    printf("%svalidation: %s %lld", screen->terminal ? "\r\033[K" : "", v->stage,
           (long long)v->iteration);
    if (v->accuracy)
        print_accuracy(v);
    else
        print_evaluation(v);
    if (v->is_best) printf("New best %s: %.1f\n", v->accuracy ? "top 1" : "AP", 100 * v->quality);
    if (v->saved) printf("Saving weights to %s\n", v->saved);
    fflush(stdout);
    dn_start_report(screen->folder);
}

static void print_message(void *context, const char *sentence)
{
    const dn_screen *screen = context;
    fprintf(stderr, "%s%s\n", screen->terminal ? "\r\033[K" : "", sentence);
}

/* <backup>/<base>, <base> being the cfg's name up to its first dot: what files of a training begin
 * with, and its folder. */
static void name_run(const char *backup, const char *cfg, char *path, size_t size)
{
    const char *slash = strrchr(cfg, '/'), *base = slash ? slash + 1 : cfg;
    snprintf(path, size, "%s/%.*s", backup, (int)strcspn(base, "."), base);
}

/* The state to go on from: with -resume that of this cfg's last training in the backup folder, else
 * that of the weights that are named ("<x>_last.weights" or "<x>_last.state"). NULL: none. */
static const char *find_state(const dn_arguments *arguments, const char *run, bool resume,
                              char *path, size_t size)
{
    const char *weights = arguments->weights;
    const size_t length = weights ? strlen(weights) : 0;
    const size_t ending = strlen(".weights"), state = strlen(".state");
    snprintf(path, size, "%s_last.state", run);
    if (resume && access(path, R_OK) == 0) return path;
    if (length > state && strcmp(weights + length - state, ".state") == 0) return weights;
    if (length > ending && !strchr(weights, ',')) {
        snprintf(path, size, "%.*s.state", (int)(length - ending), weights);
        if (access(path, R_OK) == 0) return path;
    }
    if (resume)
        fprintf(stderr, "%s_last.state is not there: nothing to resume, training begins\n", run);
    return NULL;
}

static dn_stage stage_named(const char *name)
{
    if (strcmp(name, "mask") == 0) return DN_STAGE_MASK;
    if (strcmp(name, "detector") == 0) return DN_STAGE_DETECTOR;
    if (strcmp(name, "joint") == 0) return DN_STAGE_ALL;
    dn_die("-stage %s: one of mask, detector, joint", name);
}

static const char *products_name(int number)
{
    return dn_products_name((dn_products)number);
}

static dn_products take_products(dn_arguments *arguments)
{
    return (dn_products)dn_take_choice(arguments, "-mixed", products_name, DN_PRODUCTS_TF32,
                                       DN_PRODUCTS_F32);
}

static dn_train_options take_options(dn_arguments *arguments, const dn_common_arguments *common,
                                     dn_screen *screen)
{
    const char *usual = strcmp(arguments->task, "segmenter") == 0  ? NULL /* the schedule */
                        : strcmp(arguments->task, "detector") == 0 ? "detector"
                                                                   : "joint";
    const char *stage = dn_take_text(arguments, "-stage", usual);
    dn_take_flag(arguments, "-dont_show");
    return (dn_train_options){
        .schedule = !stage,
        .stage = stage ? stage_named(stage) : DN_STAGE_ALL,
        .seed = common->seed,
        .threads = common->threads,
        .device = common->devices,
        .products = take_products(arguments),
        .workers = (int32_t)dn_take_int(arguments, "-workers", 0, 1, 256),
        .max_iterations = dn_take_int(arguments, "-iterations", 0, 1, INT32_MAX),
        .save_every = dn_take_int(arguments, "-save_every", 0, 1, INT32_MAX),
        .valid_every = dn_take_int(arguments, "-valid_every", 0, 1, INT32_MAX),
        .patience = (int32_t)dn_take_int(arguments, "-patience", 0, 1, INT32_MAX),
        .clear = dn_take_flag(arguments, "-clear"),
        .strict = common->strict,
        .plain = dn_take_flag(arguments, "-no_augmentation"),
        .backup_folder = dn_take_text(arguments, "-backup", NULL),
        .context = screen,
        .progress = print_progress,
        .validating = print_validating,
        .validated = print_validated,
        .message = print_message,
        .cancelled = dn_interrupted,
    };
}

/* What the data file says where the command line does not. */
static void take_data_file(const dn_data_file *data, dn_train_options *options)
{
    if (!options->backup_folder) options->backup_folder = data->backup;
    if (options->save_every == 0) options->save_every = data->save_last;
    options->keep_every = data->save_weights;
    options->data = data->path;
}

/* What to validate on; NULL: nothing. */
static dn_dataset *open_valid(dn_arguments *arguments, const dn_data_file *data, bool wanted)
{
    if (!wanted) return NULL;
    if (!data->valid) {
        fprintf(stderr, "%s: has no valid=: no validation on the way\n", data->path);
        return NULL;
    }
    if (strcmp(arguments->task, "classifier") == 0)
        return dn_open_class_set(data, DN_DATA_VALID, false);
    dn_dataset *valid = dn_open_data_set(data, DN_DATA_VALID, false);
    if (dn_dataset_get(valid)->object_count > 0) return valid;
    fprintf(stderr, "%s: no labels in valid=%s: no validation on the way\n", data->path,
            data->valid);
    dn_dataset_free(valid);
    return NULL;
}

int dn_command_train(dn_arguments *arguments)
{
    char state[4096], command[8192], going_on[8192];
    dn_print_train_command(arguments, false, command, sizeof command);
    dn_print_train_command(arguments, true, going_on, sizeof going_on);
    dn_must(dn_parallel_start());
    /* mpirun hands on what it reads from terminals that it makes */
    dn_screen screen = {.terminal = isatty(STDOUT_FILENO) == 1 && dn_parallel_size() == 1};
    if (!dn_parallel_leads() && !freopen("/dev/null", "w", stdout))
        dn_die("/dev/null cannot be opened");
    const dn_common_arguments common = dn_take_common(arguments);
    dn_train_options options = take_options(arguments, &common, &screen);
    const bool resume = dn_take_flag(arguments, "-resume");
    dn_take_flag(arguments, "-map"); /* it validates anyway */
    const bool validates = !dn_take_flag(arguments, "-no_valid");
    dn_take_files(arguments);
    dn_end_of_operands(arguments);
    if (!arguments->cfg) dn_die("a cfg file is missing");
    dn_data_file *data = dn_open_data_file(arguments);
    const bool classifier = strcmp(arguments->task, "classifier") == 0;
    dn_dataset *dataset = classifier ? dn_open_class_set(data, DN_DATA_TRAIN, options.strict)
                                     : dn_open_data_set(data, DN_DATA_TRAIN, options.strict);
    dn_dataset *valid = open_valid(arguments, data, validates);
    take_data_file(data, &options);
    options.command = command;
    options.cfg = arguments->cfg;
    options.weights = arguments->weights;
    options.dataset = dataset;
    options.valid = valid;
    name_run(options.backup_folder, options.cfg, screen.folder, sizeof screen.folder);
    if (!options.clear)
        options.state = find_state(arguments, screen.folder, resume, state, sizeof state);
    dn_watch_interrupts();    /* saves and stops behind the running iteration */
    signal(SIGXFSZ, SIG_IGN); /* a file may not grow: an error as any other */
    dn_train_report report;
    const dn_status status = dn_train(&options, &report);
    const bool leads = dn_parallel_leads();
    dn_parallel_stop();
    if (status != DN_OK && !leads) return 1; /* the leading process says why */
    dn_must(status);
    if (screen.terminal) printf("\n");
    printf("%s after %lld iterations, average loss %f\n", report.cancelled ? "Stopped" : "Done",
           (long long)report.iterations, report.average_loss);
    if (report.cancelled) printf("Go on with: %s\n", going_on);
    if (!report.cancelled && leads) dn_run_report(screen.folder);
    dn_dataset_free(valid);
    dn_dataset_free(dataset);
    dn_data_file_free(data);
    return 0;
}
