/* One number of COCO's compressed strings of runs; the strings: data/rle_text.c, cuda/paste.cu.
 *
 * A number is cut into groups of five bits, low ones first, until the rest repeats the sign; a
 * group is the character 48 + bits, + 32 where more follow. From the fourth run on a number is the
 * difference to the run two places before, which is the last one of the same value.
 */
#ifndef DN_MATH_RLE_TEXT_H
#define DN_MATH_RLE_TEXT_H

#include "math/portable.h"

#include <stddef.h>

enum {
    DN_GROUP_MASK = 31,
    DN_GROUP_SIGN = 16,
    DN_GROUP_MORE = 32,
    DN_GROUP_ZERO = 48, /* the character of the group 0 */
    DN_DELTA_FROM = 3,  /* first run that is stored as a difference */
};

/* Writes the groups of `number` where `text` is not NULL; returns how many there are. */
DN_HD size_t dn_rle_put_number(char *text, int64_t number)
{
    size_t length = 0;
    for (bool more = true; more; length++) {
        const int group = (int)(number & DN_GROUP_MASK);
        /* Floor division: a right shift of a negative number is not defined by C. */
        number = (number - group) / (DN_GROUP_MASK + 1);
        more = group & DN_GROUP_SIGN ? number != -1 : number != 0;
        if (text) text[length] = (char)(DN_GROUP_ZERO + group + (more ? DN_GROUP_MORE : 0));
    }
    return length;
}

#endif
