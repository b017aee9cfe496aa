/* The loss of [mask], one cell and one RoI: binary cross-entropy and Dice; see layers/mask.c. */
#ifndef DN_MATH_MASK_LOSS_H
#define DN_MATH_MASK_LOSS_H

#include "math/portable.h"

/* Sums over cells of one RoI; all double, so that they can be added up as an array. */
typedef struct dn_mask_sums {
    double bce, both, squares; /* both: sum(p t), squares: sum(p^2) + sum(t^2) */
    double intersection, all;  /* cells of p and t, both cut at one half */
} dn_mask_sums;

/* Of a RoI before its weight. */
typedef struct dn_mask_measure {
    double loss, iou;
} dn_mask_measure;

/* Adds what the Dice loss needs of a cell. */
DN_HD void dn_mask_add_dice(dn_mask_sums *sums, float p, float t)
{
    const double pd = (double)p, td = (double)t;
    sums->both += pd * td;
    sums->squares += pd * pd + td * td;
}

/* Adds a cell: its logit, probability and target. */
DN_HD void dn_mask_add(dn_mask_sums *sums, float logit, float p, float t)
{
    const double x = (double)logit, td = (double)t;
    sums->bce += fmax(x, 0.0) - x * td + log1p(exp(-fabs(x)));
    dn_mask_add_dice(sums, p, t);
    sums->intersection += p >= 0.5f && t >= 0.5f ? 1.0 : 0.0;
    sums->all += p >= 0.5f || t >= 0.5f ? 1.0 : 0.0;
}

DN_HD dn_mask_measure dn_mask_measure_of(const dn_mask_sums *sums, int32_t cells, bool dice)
{
    dn_mask_measure measure;
    measure.loss = sums->bce / cells;
    if (dice) measure.loss += 1 - (2 * sums->both + 1) / (sums->squares + 1);
    measure.iou = sums->all > 0 ? sums->intersection / sums->all : 1;
    return measure;
}

/* d dice / dp = by_p p - by_t t = (2 p a - 2 t b) / b^2 with a = 2 sum(p t) + 1, b = the squares
 * + 1; both 0 without Dice. */
typedef struct dn_mask_slope {
    float by_p, by_t;
} dn_mask_slope;

DN_HD dn_mask_slope dn_mask_slope_of(const dn_mask_sums *sums, bool dice)
{
    const double b = sums->squares + 1;
    dn_mask_slope slope = {0.0f, 0.0f};
    if (!dice) return slope;
    slope.by_t = (float)(2 / b);
    slope.by_p = (float)(2 * (2 * sums->both + 1) / (b * b));
    return slope;
}

/* d loss / d logit of a cell, before the RoI's weight. */
DN_HD float dn_mask_gradient(dn_mask_slope slope, int32_t cells, float p, float t)
{
    const float mean = 1.0f / (float)cells;
    return mean * (p - t) + p * (1.0f - p) * (slope.by_p * p - slope.by_t * t);
}

#endif
