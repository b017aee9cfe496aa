/* What the loss layers compare with: dn_truth of the public header, the objects of one image in
 * network pixels. A truth owns nothing; the loader that made it keeps objects and masks alive
 * during the pass. */
#ifndef DN_CORE_TRUTH_H
#define DN_CORE_TRUTH_H

#include "data/geometry.h"
#include "data/rle.h"

#endif
