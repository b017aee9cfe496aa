/* Overlap of a detection with a truth, as COCO measures it, in double: see evaluator.h.
 *
 * Boxes: x, y, width, height in continuous pixels. Masks: counted pixels. Where nothing is shared
 * the overlap is 0, also of two empty shapes.
 */
#include "eval/evaluator.h"

#include "data/rle.h"

#include <math.h>

const double dn_eval_areas[DN_AREAS][2] = {{0, 1e10}, {0, 1024}, {1024, 9216}, {9216, 1e10}};

double dn_eval_iou(int32_t index)
{
    const double step = (.95 - .5) / (DN_IOUS - 1);
    return index == DN_IOUS - 1 ? .95 : index * step + .5;
}

double dn_eval_recall(int32_t index)
{
    return index == DN_RECALLS - 1 ? 1 : index * .01;
}

dn_shape dn_eval_shape(const double bbox[4], const dn_rle *mask)
{
    if (!mask) return (dn_shape){bbox[0], bbox[1], bbox[2], bbox[3], bbox[2] * bbox[3], NULL};
    int32_t bounds[4];
    dn_rle_bounds(mask, bounds);
    return (dn_shape){bounds[0], bounds[1], bounds[2], bounds[3], (double)dn_rle_area(mask), mask};
}

double dn_eval_overlap(const dn_shape *detection, const dn_shape *truth, bool crowd)
{
    const dn_shape *d = detection, *t = truth;
    const double w = fmin(d->x + d->w, t->x + t->w) - fmax(d->x, t->x);
    if (!(w > 0)) return 0;
    const double h = fmin(d->y + d->h, t->y + t->h) - fmax(d->y, t->y);
    if (!(h > 0)) return 0;
    const double shared = d->mask ? (double)dn_rle_shared(d->mask, t->mask) : w * h;
    return shared > 0 ? shared / (crowd ? d->area : d->area + t->area - shared) : 0;
}
