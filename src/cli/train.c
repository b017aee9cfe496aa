/* `darknet segmenter train`, `detector train`, `classifier train`: data file, stage, progress,
 * signals.
 *
 * `segmenter train` trains the mask branch on a frozen detector, `detector train` the detector
 * (-stage to say otherwise). Darknet's lines go to stdout; on a terminal one line is redrawn. Where
 * a "<x>_last.weights" has its "<x>_last.state" beside it, training goes on exactly there.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/open_network.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

/* The first signal saves and stops behind the running iteration; a second one ends the process. */
static void on_signal(int number)
{
    interrupted = 1;
    signal(number, SIG_DFL);
}

static bool is_cancelled(void *context)
{
    (void)context;
    return interrupted != 0;
}

static void print_duration(double seconds)
{
    const long whole = (long)seconds;
    if (whole >= 3600)
        printf("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        printf("%ld:%02ld", whole / 60, whole % 60);
}

/* Darknet's line, then what is ours; scripts read the first part. */
static void print_progress(void *context, const dn_train_progress *p)
{
    const bool *terminal = context;
    if (*terminal) printf("\r\033[K");
    printf("%lld: %f, %f avg, %f rate, %f seconds, %lld images", (long long)p->iteration, p->loss,
           p->average_loss, (double)p->rate, p->seconds, (long long)p->images);
    if (p->mask_iou >= 0) printf(", %lld masks, IoU %.3f", (long long)p->rois, p->mask_iou);
    printf(", of %lld, ETA ", (long long)p->max_iterations);
    print_duration(p->eta_seconds);
    if (!*terminal) printf("\n");
    if (p->saved) printf("%sSaving weights to %s\n", *terminal ? "\n" : "", p->saved);
    fflush(stdout);
}

static void print_message(void *context, const char *sentence)
{
    const bool *terminal = context;
    fprintf(stderr, "%s%s\n", *terminal ? "\r\033[K" : "", sentence);
}

/* The state file beside "<x>_last.weights", if there is one: training goes on exactly there. */
static const char *find_state(const char *weights, char *path, size_t size)
{
    const size_t length = weights ? strlen(weights) : 0, end = strlen(".weights");
    if (length <= end || strchr(weights, ',')) return NULL;
    snprintf(path, size, "%.*s.state", (int)(length - end), weights);
    return access(path, R_OK) == 0 ? path : NULL;
}

static dn_stage stage_named(const char *name)
{
    if (strcmp(name, "mask") == 0) return DN_STAGE_MASK;
    if (strcmp(name, "detector") == 0) return DN_STAGE_DETECTOR;
    if (strcmp(name, "joint") == 0) return DN_STAGE_ALL;
    dn_die("-stage %s: one of mask, detector, joint", name);
}

static dn_train_options take_options(dn_arguments *arguments, bool *terminal)
{
    const dn_common_arguments common = dn_take_common(arguments);
    const char *stage = strcmp(arguments->task, "segmenter") == 0  ? "mask"
                        : strcmp(arguments->task, "detector") == 0 ? "detector"
                                                                   : "joint";
    dn_take_flag(arguments, "-dont_show");
    return (dn_train_options){
        .stage = stage_named(dn_take_text(arguments, "-stage", stage)),
        .seed = common.seed,
        .threads = common.threads,
        .workers = (int32_t)dn_take_int(arguments, "-workers", 1, 1, 256),
        .max_iterations = dn_take_int(arguments, "-iterations", 0, 1, INT32_MAX),
        .save_every = dn_take_int(arguments, "-save_every", 0, 1, INT32_MAX),
        .clear = dn_take_flag(arguments, "-clear"),
        .strict = common.strict,
        .plain = dn_take_flag(arguments, "-no_augmentation"),
        .backup_folder = dn_take_text(arguments, "-backup", NULL),
        .context = terminal,
        .progress = print_progress,
        .message = print_message,
        .cancelled = is_cancelled,
    };
}

int dn_command_train(dn_arguments *arguments)
{
    bool terminal = isatty(STDOUT_FILENO) == 1;
    char state[4096];
    dn_train_options options = take_options(arguments, &terminal);
    dn_take_files(arguments);
    if (!arguments->cfg) dn_die("a cfg file is missing");
    dn_data_file *data = dn_open_data_file(arguments);
    const bool classifier = strcmp(arguments->task, "classifier") == 0;
    dn_dataset *dataset = classifier ? dn_open_class_set(data, DN_DATA_TRAIN, options.strict)
                                     : dn_open_data_set(data, DN_DATA_TRAIN, options.strict);
    if (options.stage == DN_STAGE_MASK && !arguments->weights)
        dn_die("%s: a mask branch trains on a detector: name its weights file", arguments->cfg);
    if (!options.backup_folder) options.backup_folder = data->backup;
    options.cfg = arguments->cfg;
    options.weights = arguments->weights;
    options.dataset = dataset;
    if (!options.clear) options.state = find_state(arguments->weights, state, sizeof state);
    if (options.state) fprintf(stderr, "Resuming from %s\n", options.state);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    dn_train_report report;
    dn_must(dn_train(&options, &report));
    if (terminal) printf("\n");
    printf("%s after %lld iterations, average loss %f\n", report.cancelled ? "Stopped" : "Done",
           (long long)report.iterations, report.average_loss);
    dn_dataset_free(dataset);
    dn_data_file_free(data);
    return 0;
}
