/* The parameters' memory and where their values come from.
 *
 * A network that predicts by a plan on the CPU (dn_network_fuses) reads most of its weights once,
 * to pack them. So its initial values are made only where somebody asks for them, and large arrays
 * of a weights file that holds every parameter stay in the file, which is kept open: dn_params_read
 * reads one into the caller's memory, dn_params_here all of them to their places for good. Other
 * networks have all values in memory at once.
 */
#ifndef DN_CORE_PARAMS_H
#define DN_CORE_PARAMS_H

#include "core/network.h"

/* Gives all parameters memory, in .weights order, and initial values. */
dn_status dn_params_place(dn_network *network);

/* Makes param->data of all layers hold their values, from now on. Whoever reads or writes
 * parameters elsewhere than in the plan asks for this before. */
dn_status dn_params_here(dn_network *network);

/* The values of `param`: param->data, or, where they stay in the file, `room`, (param->count). */
dn_status dn_params_read(const dn_network *network, const dn_param *param, float *room,
                         const float **values);

/* Takes the values of all parameters from the file, whose floats begin at byte `start`: small ones
 * are read, large ones stay there. `file` is borrowed. *taken false: this network wants them read.
 */
dn_status dn_params_stay_in_file(dn_network *network, const char *path, int file, int64_t start,
                                 bool *taken);

/* All values have been written to their places: nothing else is due. */
void dn_params_are_here(dn_network *network);

/* Closes the file; dn_network_free calls it. */
void dn_params_forget_file(dn_network *network);

#endif
