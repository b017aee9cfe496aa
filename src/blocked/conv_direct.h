/* The form that fits most: see conv_direct.c. */
#ifndef DN_BLOCKED_CONV_DIRECT_H
#define DN_BLOCKED_CONV_DIRECT_H

#include "blocked/conv_form.h"
#include "blocked/isa.h"

extern const dn_conv_form DN_ISA_NAME(dn_conv_direct);

#endif
