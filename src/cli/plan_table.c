/* The inference plan as a table, for DARKNET_VERBOSE=1: see open_network.h. */
#include "cli/open_network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_step(int32_t index, const dn_step_info *step)
{
    const double ms = 1e3 * step->seconds;
    char layers[32];
    if (step->first_layer == step->last_layer)
        snprintf(layers, sizeof layers, "%d", step->last_layer);
    else
        snprintf(layers, sizeof layers, "%d-%d", step->first_layer, step->last_layer);
    fprintf(stderr, "%4d  %-9s %-11s %-12s %4d x %4d x%4d x%4d  %9.3f", index, layers, step->kind,
            step->form, step->images, step->w, step->h, step->c, ms);
    if (step->flops > 0 && step->seconds > 0)
        fprintf(stderr, "  %7.1f", (double)step->flops / 1e9 / step->seconds);
    if (step->expected > 0)
        fprintf(stderr, "  %9.3f %s", 1e3 * step->expected, step->tuned ? "measured" : "estimated");
    fputc('\n', stderr);
}

void dn_print_plan(const dn_network *network)
{
    const char *verbose = getenv("DARKNET_VERBOSE");
    const int32_t count = dn_network_step_count(network);
    if (!verbose || strcmp(verbose, "1") != 0 || count == 0) return;
    double seconds = 0;
    fprintf(stderr, "step  layers    kind        form                       output"
                    "         ms  GFLOP/s   chosen at ms\n");
    for (int32_t i = 0; i < count; i++) {
        dn_step_info step;
        dn_must(dn_network_get_step(network, i, &step));
        print_step(i, &step);
        seconds += step.seconds;
    }
    fprintf(stderr, "sum of the steps of the last pass: %.3f ms\n", 1e3 * seconds);
}
