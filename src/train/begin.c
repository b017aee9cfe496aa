/* Where a training begins: anew, or where a state file says. See trainer.h. */
#include "train/trainer.h"

static dn_status take_position(dn_trainer *trainer, const dn_state_file *file)
{
    const int64_t images = trainer->state.images;
    trainer->state = file->state;
    trainer->state.images = images;
    for (int32_t i = 0; i < trainer->stage_count; i++)
        if ((int64_t)trainer->stages[i] == file->state.stage) trainer->stage_index = i;
    if ((int64_t)dn_trainer_stage(trainer) != file->state.stage)
        return dn_fail(DN_ERROR_DATA, "%s: is of stage %s, which is not to be trained now",
                       file->path, dn_stage_name(trainer, (dn_stage)file->state.stage));
    if (images != file->state.images)
        dn_trainer_say(
            trainer,
            "%s: the data set had %lld images, now it has %lld: the training goes on, but "
            "not as it would have",
            file->path, (long long)file->state.images, (long long)images);
    return DN_OK;
}

dn_status dn_trainer_begin(dn_trainer *trainer)
{
    const dn_train_options *options = trainer->options;
    dn_state_file file = {0};
    DN_TRY(dn_collective_agree(trainer->peers, dn_trainer_plan(trainer)));
    trainer->state = (dn_train_state){.stage = (int64_t)dn_trainer_stage(trainer),
                                      .images = dn_dataset_get(options->dataset)->image_count,
                                      .seed = options->seed,
                                      .average_loss = -1,
                                      .last = -1,
                                      .best = -1};
    dn_collective_share(trainer->peers, &trainer->state.seed, sizeof trainer->state.seed);
    if (dn_collective_any(trainer->peers, options->state != NULL) && !options->state)
        return dn_fail(DN_ERROR_IO, "the state that others resume from is not there");
    if (options->state) DN_TRY(dn_state_open(options->state, &file));
    dn_status status = options->state ? take_position(trainer, &file) : DN_OK;
    if (status == DN_OK) status = dn_stage_open(trainer, options->state ? &file : NULL, NULL);
    dn_state_close(&file);
    DN_TRY(status);
    if (options->state)
        dn_trainer_say(trainer, "Resuming from %s: stage %s, iteration %lld", options->state,
                       dn_stage_name(trainer, dn_trainer_stage(trainer)),
                       (long long)trainer->state.iteration);
    else
        DN_TRY(dn_checkpoint_start(trainer));
    return dn_run_folder_open(trainer, options->state != NULL);
}
