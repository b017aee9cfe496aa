/* Data sets: how the readers of labels fill a dn_dataset (darknet.h), and how it keeps them.
 *
 * Points and runs live in one array of uint32 words. Runs are themselves. A polygon is its number
 * of points, then x, y, x, y, ...: where all coordinates of an object are decimal numbers of at
 * most `decimals` places, each is the int32 round(coordinate * 10^decimals), from which the same
 * double comes back; else (decimals == DN_EXACT_DOUBLES) each is the two words of its double. So
 * nothing is lost, and rasters equal those made from the text.
 */
#ifndef DN_DATA_DATASET_H
#define DN_DATA_DATASET_H

#include "core/status.h"

enum { DN_EXACT_DOUBLES = 255 };

#endif
