/* Packs the weights of Winograd's forms: U = G (factor * w) G', in double, rounded once. */
#include "blocked/winograd.h"

#include <string.h>

/* G, whose rows have the order of the positions. */
static void weight_transform(const dn_winograd_kind *kind, double rows[DN_MOST_ALPHA][3])
{
    double points[DN_MOST_ALPHA] = {0};
    int32_t count = 0;
    if (kind->zero) ++count;
    for (int32_t k = 0; k < kind->pairs; ++k) {
        points[count++] = (double)kind->pair[k];
        points[count++] = (double)-kind->pair[k];
    }
    for (int32_t i = 0; i < count; ++i) {
        double product = 1;
        for (int32_t j = 0; j < count; ++j)
            if (j != i) product *= points[i] - points[j];
        rows[i][0] = 1 / product;
        rows[i][1] = points[i] / product;
        rows[i][2] = points[i] * points[i] / product;
    }
    rows[count][0] = rows[count][1] = 0;
    rows[count][2] = 1;
}

/* Input channel `channel` of a panel: 3x3 taps to alpha x alpha positions. */
static void pack_channel(const dn_winograd_plan *plan, double rows[DN_MOST_ALPHA][3],
                         double taps[3][3][DN_PANEL], float *packed)
{
    double half[3][DN_PANEL];
    for (int32_t i = 0; i < plan->alpha; ++i) {
        for (int32_t x = 0; x < 3; ++x)
            for (int32_t f = 0; f < DN_PANEL; ++f)
                half[x][f] = rows[i][0] * taps[0][x][f] + rows[i][1] * taps[1][x][f] +
                             rows[i][2] * taps[2][x][f];
        for (int32_t j = 0; j < plan->alpha; ++j, packed += plan->channels * DN_PANEL)
            for (int32_t f = 0; f < DN_PANEL; ++f)
                packed[f] = (float)(rows[j][0] * half[0][f] + rows[j][1] * half[1][f] +
                                    rows[j][2] * half[2][f]);
    }
}

void DN_ISA_NAME(dn_winograd_pack)(const dn_winograd_kind *kind, const dn_conv_problem *problem,
                                   const float *weights, const float *factor, void *packed,
                                   int32_t task)
{
    const dn_winograd_plan plan = DN_ISA_NAME(dn_winograd_plan_of)(kind, problem);
    double rows[DN_MOST_ALPHA][3], taps[3][3][DN_PANEL];
    weight_transform(kind, rows);
    const int32_t c = problem->geometry.c, first = task * DN_PANEL;
    const int32_t live = dn_at_most(problem->filters - first, DN_PANEL);
    float *panel = (float *)packed + (int64_t)task * plan.positions * plan.channels * DN_PANEL;
    for (int32_t channel = 0; channel < plan.channels; ++channel, panel += DN_PANEL) {
        memset(taps, 0, sizeof taps);
        for (int32_t f = 0; f < live && channel < c; ++f) {
            const float *from = weights + ((int64_t)(first + f) * c + channel) * 9;
            const double scale = factor ? (double)factor[first + f] : 1;
            for (int32_t i = 0; i < 9; ++i) taps[i / 3][i % 3][f] = scale * (double)from[i];
        }
        pack_channel(&plan, rows, taps, panel);
    }
}
