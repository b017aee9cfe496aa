/* Networks by their plan against the same ones layer by layer with AVX2: a program for an emulated
 * processor (`make avx512-check`); tests/test_plan.py does as much where pytest runs.
 *
 * usage: check_network CFG...
 * Each network runs an image in each of the ways below, with given boxes where it has [roialign].
 * What heads, masks and the last layer answer may differ by a share of its root mean square.
 */
#include "darknet.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IMAGES = 1,
    BOXES = 3, /* an image */
    WIDTH = 64,
    HEIGHT = 96, /* of inputs that the cfg wants larger */
    MOST = 8,    /* layers whose answers are looked at */
};

static void give_up(const char *cfg)
{
    printf("%s: %s\n", cfg, dn_error_message());
    exit(2);
}

static float next_random(uint32_t *state) /* 0 .. 1 */
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (1 << 24);
}

static bool is_mask(const dn_network *network, int32_t index)
{
    dn_layer_info layer;
    return dn_network_get_layer(network, index, &layer) == DN_OK && !strcmp(layer.type, "mask");
}

/* Biases and statistics that change something, and masks that are not all next to 1/2. */
static void scatter(dn_network *network, int32_t layers)
{
    uint32_t state = 1;
    for (int32_t i = 0; i < layers; ++i) {
        const bool before_mask = i + 1 < layers && is_mask(network, i + 1);
        dn_param_info param;
        for (int32_t k = 0; dn_network_get_param(network, i, k, &param) == DN_OK; ++k) {
            const bool is_factor = !strcmp(param.name, "scales") || !strcmp(param.name, "variance");
            const bool is_weights = !strcmp(param.name, "weights");
            if (is_weights && !before_mask) continue;
            const float size = is_weights ? 4 : is_factor ? 1 : .2f, middle = is_factor ? 1 : 0;
            for (int64_t j = 0; j < param.count; ++j)
                param.data[j] = middle + size * (next_random(&state) - .5f);
        }
    }
    dn_network_touch(network);
}

static void place_boxes(dn_network *network, const dn_network_info *info)
{
    dn_roi rois[IMAGES * BOXES];
    memset(rois, 0, sizeof rois);
    for (int32_t i = 0; i < IMAGES * BOXES; ++i) {
        const float x = (.1f + .2f * (float)(i % BOXES)) * (float)info->width;
        const float y = .15f * (float)info->height;
        rois[i].image = i / BOXES;
        rois[i].detection = i % BOXES;
        rois[i].truth = -1;
        rois[i].score = 1;
        rois[i].box = (dn_box){x, y, x + .11f * (float)((i + 1) * info->width),
                               y + .3f * (float)info->height};
    }
    dn_test_set_rois(network, rois, IMAGES * BOXES);
}

/* What the layers of interest answer, one after the other; ends[i] is where the i-th one's end. */
typedef struct answers {
    float *values;
    int64_t ends[MOST];
    int32_t layers;
} answers;

static void keep(answers *a, const dn_layer_info *layer)
{
    const int64_t start = a->layers > 0 ? a->ends[a->layers - 1] : 0;
    const int64_t count = (int64_t)layer->live * layer->c * layer->h * layer->w;
    a->values = realloc(a->values, (size_t)(start + count) * sizeof *a->values);
    memcpy(a->values + start, layer->out, (size_t)count * sizeof *a->values);
    a->ends[a->layers++] = start + count;
}

static answers run(const char *cfg, const char *isa, dn_precision precision)
{
    dn_test_isa(isa);
    const dn_network_options options = {.batch = IMAGES,
                                        .width = 64,
                                        .height = 96,
                                        .threads = 1,
                                        .seed = 7,
                                        .precision = precision};
    dn_network *network;
    dn_network_info info;
    dn_layer_info layer;
    answers a = {0};
    if (dn_network_create(cfg, &options, &network) != DN_OK) give_up(cfg);
    dn_network_get_info(network, &info);
    if (info.width > WIDTH) {
        if (dn_network_resize(network, WIDTH, HEIGHT) != DN_OK) give_up(cfg);
        dn_network_get_info(network, &info);
    }
    scatter(network, info.layer_count);
    place_boxes(network, &info);
    const int64_t count = (int64_t)IMAGES * info.channels * info.height * info.width;
    float *input = malloc((size_t)count * sizeof *input);
    uint32_t state = 2;
    for (int64_t i = 0; i < count; ++i) input[i] = next_random(&state);
    if (dn_network_forward(network, input, IMAGES, .5f) != DN_OK) give_up(cfg);
    for (int32_t i = 0; i < info.layer_count; ++i) {
        dn_network_get_layer(network, i, &layer);
        const bool is_answer = !strcmp(layer.type, "yolo") || !strcmp(layer.type, "mask");
        if (is_answer || i == info.layer_count - 1) keep(&a, &layer);
    }
    if ((dn_network_step_count(network) > 0) != (precision != DN_PRECISION_PLAIN)) a.layers = 0;
    free(input);
    dn_network_free(network);
    return a;
}

/* The largest difference in a layer, as a share of the root mean square of what is wanted. */
static double difference_in(const float *wanted, const float *found, int64_t count)
{
    double most = 0, squares = 0;
    for (int64_t i = 0; i < count; ++i) {
        const double apart = fabs((double)found[i] - (double)wanted[i]);
        if (!(apart <= most)) most = apart; /* NaN counts, too */
        squares += (double)wanted[i] * (double)wanted[i];
    }
    return count > 0 && squares > 0 ? most / sqrt(squares / (double)count) : (double)INFINITY;
}

static double difference(const answers *wanted, const answers *found)
{
    double most = wanted->layers == found->layers ? 0 : (double)INFINITY;
    for (int32_t i = 0; i < wanted->layers && i < found->layers; ++i) {
        const int64_t start = i > 0 ? wanted->ends[i - 1] : 0, count = wanted->ends[i] - start;
        if (found->ends[i] != wanted->ends[i]) return (double)INFINITY;
        const double apart = difference_in(wanted->values + start, found->values + start, count);
        if (!(apart <= most)) most = apart;
    }
    return most;
}

static const struct {
    const char *name, *isa;
    dn_precision precision;
    double allowed;
} ways[] = {
    {"layer by layer", "avx512", DN_PRECISION_PLAIN, 1e-4}, /* src/math knows no other */
    {"by the plan without Winograd", "avx512", DN_PRECISION_EXACT, 1e-4},
    {"by the plan", "avx512", DN_PRECISION_F32, 1e-3},
    {"by the plan", "avx512vnni", DN_PRECISION_F32, 1e-3},
    {"by the plan", "avx512bf16", DN_PRECISION_F32, 1e-3},
};
enum { WAYS = sizeof ways / sizeof *ways };

/* Returns how many ways failed. */
static int check(const char *cfg)
{
    int failed = 0;
    answers wanted = run(cfg, "avx2", DN_PRECISION_PLAIN);
    for (int i = 0; i < WAYS; ++i) {
        answers found = {0};
        if (dn_test_isa(ways[i].isa)) found = run(cfg, ways[i].isa, ways[i].precision);
        const double apart = difference(&wanted, &found);
        printf("%s, %s %s: %.1e\n", cfg, ways[i].isa, ways[i].name, apart);
        fflush(stdout);
        failed += !(apart <= ways[i].allowed);
        free(found.values);
    }
    free(wanted.values);
    return failed;
}

int main(int count, char **names)
{
    int failed = 0;
    for (int i = 1; i < count; ++i) failed += check(names[i]);
    printf("%d passed, %d failed\n", (count - 1) * WAYS - failed, failed);
    return failed > 0 || count < 2;
}
