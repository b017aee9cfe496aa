/* `darknet speed cfg [weights] [times]`: the forward pass alone, timed. */
#include "cli/commands.h"
#include "cli/open_network.h"

#include "core/option.h"
#include "math/clock.h"

#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

int dn_command_speed(dn_arguments *arguments)
{
    dn_common_arguments common = dn_take_common(arguments);
    common.quiet = true;
    dn_take_files(arguments);
    int64_t times = 20;
    if (arguments->count > 0 &&
        (!dn_parse_int(arguments->items[0], &times) || times < 1 || times > 1000000))
        dn_die("%s: how many times is it to run?", arguments->items[0]);
    dn_network *network = dn_open_network(arguments, &common, 1);
    dn_network_info info;
    dn_must(dn_network_get_info(network, &info));
    const size_t values = (size_t)info.channels * (size_t)info.height * (size_t)info.width;
    float *input = malloc(values * sizeof *input);
    double *seconds = malloc((size_t)times * sizeof *seconds);
    if (!input || !seconds) dn_die("out of memory");
    for (size_t i = 0; i < values; i++) input[i] = .5f;
    dn_must(dn_network_forward(network, input, 1, .25f)); /* warm-up */
    for (int64_t i = 0; i < times; i++) {
        const double start = dn_now();
        dn_must(dn_network_forward(network, input, 1, .25f));
        seconds[i] = dn_now() - start;
    }
    qsort(seconds, (size_t)times, sizeof *seconds, ascending);
    const double median = seconds[times / 2];
    printf("%lld runs of %dx%d: median %.2f ms, fastest %.2f ms, slowest %.2f ms\n",
           (long long)times, info.width, info.height, 1e3 * median, 1e3 * seconds[0],
           1e3 * seconds[times - 1]);
    printf("Flops: %.3f Bn, FPS: %.2f, %.1f GFLOP/s\n", (double)info.flops / 1e9, 1 / median,
           (double)info.flops / 1e9 / median);
    dn_print_plan(network);
    free(input);
    free(seconds);
    dn_network_free(network);
    return 0;
}
