/* Decimal numbers in cfg and label files: exact, quick, and the same in every locale.
 *
 * Numbers of up to 15 or so digits are one integer scaled by one power of ten, which IEEE rounds
 * correctly; all others go to strtod in the C locale (a program that embeds the library may have
 * chosen a decimal comma).
 */
#ifndef DN_CORE_NUMBER_H
#define DN_CORE_NUMBER_H

#include "core/status.h"

/* The whole of text[0, length) as a number: [+-] digits [. digits] [e [+-] digits], where one of
 * the two groups of digits may be missing. false: it is not one. *out may be infinite (1e999). */
bool dn_read_number(const char *text, size_t length, double *out);

/* The whole of text[0, length) as an integer; also where it is written as 12.0 or 12e0. */
bool dn_read_integer(const char *text, size_t length, int64_t *out);

/* 10^exponent, exactly; exponent is 0..DN_POWER_MAX. */
enum { DN_POWER_MAX = 22 };
double dn_power_of_ten(int exponent);

#endif
