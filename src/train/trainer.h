/* A training in progress: what its parts share.
 *
 *   trainer.c     the stages of a training, one after the other, and the loop of each
 *   begin.c       anew, or where a state file says
 *   stage_plan.c  which stages, and whether they can run
 *   stage.c       what a stage needs: network, optimizer, schedule, loader
 *   step.c        one iteration
 *   checkpoint.c  the files in the backup folder
 *   state.c       the file that an exact resume needs
 *   run_folder.c  args.txt and results.csv
 *   validation.c  the valid set on the way, and which weights are the best
 *   sizes.c       multi-scale training
 *   train.c       dn_train: one training, or one a device
 *   collective.c  what several ranks say to each other: parallel.c, ring.c
 */
#ifndef DN_TRAIN_TRAINER_H
#define DN_TRAIN_TRAINER_H

#include "core/schedule.h"
#include "train/collective.h"
#include "train/loader.h"
#include "train/state.h"

enum {
    DN_PATH_SIZE = 4096,
    DN_BASE_SIZE = 256,
    DN_NAME_SIZE = 2 * DN_BASE_SIZE, /* what is put behind the backup folder's path */
    DN_STAGES_MAX = 2,
};

typedef struct dn_trainer {
    const dn_train_options *options;
    dn_collective *peers;    /* with whom it trains */
    char base[DN_BASE_SIZE]; /* of the cfg's name: the first part of the files' names */
    dn_stage stages[DN_STAGES_MAX];
    int64_t stage_ends[DN_STAGES_MAX];    /* iterations of each, as the cfg says */
    int32_t stage_batches[DN_STAGES_MAX]; /* images of a part; 0: as the cfg says */
    int32_t stage_count, stage_index;
    bool classifier;

    dn_network *network;
    dn_optimizer *optimizer;
    dn_schedule schedule;
    dn_loader *loader;
    dn_network *judge;           /* validates; NULL: nobody does */
    int32_t batch, subdivisions; /* of an update, by all ranks together */
    int32_t parts, first_part;   /* of the subdivisions, here */
    int64_t last_iteration;      /* of this stage */
    int64_t *images;             /* (batch, DN_SAMPLE_IMAGES) of the running iteration; -1: none */
    float *statistics; /* rolling statistics before it: a block of the network's backend */
    int64_t statistic_floats;
    dn_train_state state;
    double pace;    /* seconds of an iteration, averaged */
    double seconds; /* since the last line of results.csv; no part of the state, which is exact */
    int64_t timed;  /* iterations of them */

    char saved[DN_PATH_SIZE]; /* the weights file written last */
    char *results;            /* path of results.csv; NULL: no run folder */
    char **skipped;           /* (skipped_count): sentences about images that could not be used */
    int64_t skipped_count;
    dn_status skipped_status; /* DN_ERROR_MEMORY: the list is not complete */
} dn_trainer;

/* ---- trainer.c ---- */

/* All stages, with the options and peers that are set; every rank calls it. What is left behind is
 * the state, the list of skipped images and `results`. */
dn_status dn_trainer_run(dn_trainer *trainer, bool *cancelled);

/* To the caller's message callback. */
void dn_trainer_say(const dn_trainer *trainer, const char *format, ...) DN_PRINTF(2, 3);

/* A file that could not be written is said and forgiven, as long as nothing depends on it; with
 * `strict` it is an error. */
dn_status dn_trainer_forgive(const dn_trainer *trainer, dn_status status);
const char *dn_stage_name(const dn_trainer *trainer, dn_stage stage);

static inline dn_stage dn_trainer_stage(const dn_trainer *trainer)
{
    return trainer->stages[trainer->stage_index];
}

static inline bool dn_trainer_cancelled(const dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    return options->cancelled && options->cancelled(options->context);
}

/* ---- begin.c ---- */

/* Opens the first stage, or the one of the state file that the options name, and the run's files.
 */
dn_status dn_trainer_begin(dn_trainer *trainer);

/* ---- stage_plan.c ---- */

/* Finds the stages and checks that each of them can run: not after days of another one. */
dn_status dn_trainer_plan(dn_trainer *trainer);

/* ---- stage.c ---- */

/* Says that an image could not be used, and keeps the sentence for the list at the end. */
void dn_trainer_note_skipped(void *trainer, const char *sentence);

/* Threads of the loader. */
int32_t dn_trainer_workers(const dn_trainer *trainer);

/* Opens the current stage. Parameters come from the state file, from `params` (all layers', a
 * block of the device), or from the options' weights. */
dn_status dn_stage_open(dn_trainer *trainer, const dn_state_file *file, const float *params);
void dn_stage_close(dn_trainer *trainer);

/* ---- step.c ---- */

/* One weight update; *progress gets its loss, times and mask statistics. DN_ERROR_CANCELLED: it was
 * left off half-way, the trainer is as before. */
dn_status dn_trainer_step(dn_trainer *trainer, dn_train_progress *progress);

/* Fails with the first layer whose parameters are no numbers. */
dn_status dn_check_parameters(const dn_trainer *trainer);

/* ---- checkpoint.c ---- */

/* Fails unless the folder is there or can be made; its parent must be there. `what` it is to be is
 * said then. */
dn_status dn_make_folder(const char *path, const char *what);

/* Keeps the state that an earlier training left as <base>_previous.state, and writes a first one:
 * what cannot be written shows now. */
dn_status dn_checkpoint_start(dn_trainer *trainer);

/* The path of <backup>/<base><ending>. */
void dn_trainer_path(const dn_trainer *trainer, const char *ending, char path[DN_PATH_SIZE]);

/* <base>_last.state, then the weights as _last.weights. */
dn_status dn_checkpoint_save(dn_trainer *trainer);

/* <base>_<name>.weights and, where only a branch trains, that as <base>_<name>.mask.weights: the
 * average, where the optimizer keeps one. */
dn_status dn_checkpoint_export(dn_trainer *trainer, const char *name);

/* ---- run_folder.c ---- */

/* Makes the folder, args.txt and results.csv; of a resumed run the lines up to its position stay.
 */
dn_status dn_run_folder_open(dn_trainer *trainer, bool resumed);

/* Adds an iteration to the sums; writes their means every ten iterations. */
dn_status dn_run_folder_log(dn_trainer *trainer, const dn_train_progress *progress);
dn_status dn_run_folder_log_objects(const dn_trainer *trainer, const dn_evaluation *evaluation);
dn_status dn_run_folder_log_classes(const dn_trainer *trainer, const dn_class_accuracy *accuracy);

/* ---- validation.c ---- */

/* Makes the network that judges, where there is a valid set. */
dn_status dn_validation_open(dn_trainer *trainer);
void dn_validation_close(dn_trainer *trainer);

bool dn_validation_is_due(const dn_trainer *trainer);

/* Validations without a better one that end the stage; 0: none do. */
int32_t dn_trainer_patience(const dn_trainer *trainer);

/* What a validation is for: one that is due chooses the best weights; one outside of that order
 * only where none was before, so that the next one that is due chooses as if it had not been. */
typedef enum dn_validation_kind { DN_VALIDATION_DUE, DN_VALIDATION_BETWEEN } dn_validation_kind;

/* Measures, writes the figures, and the weights where they are the best so far.
 * DN_ERROR_CANCELLED: it was left off, and counts as not done. */
dn_status dn_trainer_validate(dn_trainer *trainer, dn_validation_kind kind);

/* "best"; of a stage that another one follows "detector_best". */
const char *dn_best_name(const dn_trainer *trainer);

#endif
