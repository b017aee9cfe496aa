/* The blocked [deconvolutional]: see deconv.c.
 *
 * A form as of a convolution, but beside the list of those: problem.geometry has the input as c, h
 * and w, and weights are (c, filters, size, size). `fits`: size equals stride, nothing is cut off.
 */
#ifndef DN_BLOCKED_DECONV_H
#define DN_BLOCKED_DECONV_H

#include "blocked/conv_form.h"
#include "blocked/isa.h"

extern const dn_conv_form DN_ISA_NAME(dn_deconv);

#endif
