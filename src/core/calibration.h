/* The calibration file: the range of each convolution's input, which int8 needs (darknet.h).
 *
 * A text: "calibration 1", then a line for every [convolutional] layer of the cfg, in order: its
 * index, the channels of its input, low and high. docs/formats.md describes it.
 */
#ifndef DN_CORE_CALIBRATION_H
#define DN_CORE_CALIBRATION_H

#include "core/network.h"

/* Whether the layer has a line in the file. */
bool dn_calibration_covers(const dn_layer *layer);

/* Reads the file of a network that is set up into network->ranges; a file that does not fit its cfg
 * is an error with file and line. */
dn_status dn_calibration_read(dn_network *network, const char *path);

/* Writes ranges, (layer_count), measured on so many images. */
dn_status dn_calibration_write(const dn_network *network, const dn_range *ranges, int64_t images,
                               const char *path);

#endif
