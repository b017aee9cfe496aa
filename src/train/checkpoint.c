/* The files in the backup folder: see trainer.h.
 *
 * The state file alone is the checkpoint; weights files are exports of it in Darknet's format. It
 * is written first, so that what lies beside it is at most one checkpoint behind. Of several
 * processes the one that leads writes; for the others these functions do nothing.
 */
#include "data/path.h"
#include "train/trainer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

dn_status dn_make_folder(const char *path, const char *what)
{
    if (mkdir(path, 0777) == 0 || dn_path_is_folder(path)) return DN_OK;
    return dn_fail(DN_ERROR_IO, "%s: cannot make the %s: %s", path, what, strerror(errno));
}

void dn_trainer_path(const dn_trainer *trainer, const char *ending, char path[DN_PATH_SIZE])
{
    snprintf(path, DN_PATH_SIZE, "%s/%s%s", trainer->options->backup_folder, trainer->base, ending);
}

static dn_status export_weights(dn_trainer *trainer, const char *name, char path[DN_PATH_SIZE])
{
    dn_network *network = trainer->network;
    char ending[DN_BASE_SIZE];
    if (dn_trainer_stage(trainer) == DN_STAGE_MASK) {
        snprintf(ending, sizeof ending, "_%s.mask.weights", name);
        dn_trainer_path(trainer, ending, path);
        DN_TRY(dn_network_save_weights(network, path, dn_network_detector_end(network), -1));
    }
    snprintf(ending, sizeof ending, "_%s.weights", name);
    dn_trainer_path(trainer, ending, path);
    return dn_network_save_weights(network, path, 0, -1);
}

dn_status dn_checkpoint_export(dn_trainer *trainer, const char *name)
{
    char path[DN_PATH_SIZE];
    const bool averaged = trainer->optimizer->ema_alpha > 0;
    if (!dn_collective_leads(trainer->peers)) return DN_OK;
    if (averaged) DN_TRY(dn_optimizer_swap_ema(trainer->optimizer, trainer->network));
    const dn_status status = export_weights(trainer, name, path);
    if (averaged) dn_optimizer_swap_ema(trainer->optimizer, trainer->network);
    if (status == DN_OK) memcpy(trainer->saved, path, sizeof path);
    return status;
}

static dn_status save_state(dn_trainer *trainer)
{
    char path[DN_PATH_SIZE];
    if (!dn_collective_leads(trainer->peers)) return DN_OK;
    dn_trainer_path(trainer, "_last.state", path);
    return dn_state_save(path, trainer->network, trainer->optimizer, &trainer->state);
}

dn_status dn_checkpoint_start(dn_trainer *trainer)
{
    char last[DN_PATH_SIZE], previous[DN_PATH_SIZE];
    if (!dn_collective_leads(trainer->peers)) return DN_OK;
    dn_trainer_path(trainer, "_last.state", last);
    dn_trainer_path(trainer, "_previous.state", previous);
    if (dn_path_exists(last) && rename(last, previous) != 0)
        return dn_fail(DN_ERROR_IO, "%s: cannot rename: %s", last, strerror(errno));
    return save_state(trainer);
}

dn_status dn_checkpoint_save(dn_trainer *trainer)
{
    DN_TRY(dn_check_parameters(trainer));
    DN_TRY(save_state(trainer));
    return dn_checkpoint_export(trainer, "last");
}
