/* predictions.jpg: boxes and tinted masks drawn into an image. Labels need fonts, which the Python
 * side has; the program prints them instead. */
#ifndef DN_CLI_OVERLAY_H
#define DN_CLI_OVERLAY_H

#include "darknet.h"

/* Draws the result's instances into the image it belongs to; `classes` are the network's. */
dn_status dn_draw_result(dn_image *image, const dn_result *result, int32_t classes);

#endif
