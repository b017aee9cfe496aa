/* From the command line, or the cfg's `data=`, to a .data file and its data sets. */
#ifndef DN_CLI_DATA_SETS_H
#define DN_CLI_DATA_SETS_H

#include "cli/arguments.h"

/* The .data file that the command line names, else the one the cfg's [net] names; ends the program
 * with a sentence where there is none. */
dn_data_file *dn_open_data_file(const dn_arguments *arguments);

/* Loads one of its data sets and prints what was skipped. A valid set whose labels cannot be read
 * is loaded without them, unless strict, and that is said. */
dn_dataset *dn_open_data_set(const dn_data_file *data, dn_data_part part, bool strict);

/* Is the valid set a COCO JSON? */
bool dn_is_coco(const dn_data_file *data, const dn_dataset_view *view);

/* The same of a classifier. */
dn_dataset *dn_open_class_set(const dn_data_file *data, dn_data_part part, bool strict);

#endif
