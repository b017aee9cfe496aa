/* Networks by their plan against the same ones with AVX2: a program for an emulated processor
 * (`make avx512-check`); tests/test_plan.py does as much where pytest runs.
 *
 * usage: check_network, in the project's folder
 * Each network runs an image in each of the ways below, with given boxes where it has [roialign].
 * What heads, masks and the last layer answer may differ by a share of its root mean square. In low
 * precision sums of integers are the same everywhere, but what is left in float32 may round
 * otherwise, and so, now and then, a value of the next convolution's input.
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
    MOST = 8,  /* layers whose answers are looked at */
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

/* Biases and statistics that change something, weights that keep the values' size from layer to
 * layer, and masks that are not all next to 1/2. */
static void scatter(dn_network *network, int32_t layers)
{
    uint32_t state = 1;
    for (int32_t i = 0; i < layers; ++i) {
        const bool before_mask = i + 1 < layers && is_mask(network, i + 1);
        dn_param_info param;
        for (int32_t k = 0; dn_network_get_param(network, i, k, &param) == DN_OK; ++k) {
            const bool is_factor = !strcmp(param.name, "scales") || !strcmp(param.name, "variance");
            const bool is_weights = !strcmp(param.name, "weights");
            const float size = is_weights ? 4 : is_factor ? 1 : .2f, middle = is_factor ? 1 : 0;
            for (int64_t j = 0; j < param.count; ++j)
                if (is_weights && !before_mask)
                    param.data[j] *= 1.35f;
                else
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
        rois[i].box = (dn_box){x, y, x + .14f * (float)((i + 1) * info->width),
                               y + .17f * (float)((i + 1) * info->height)};
    }
    dn_test_set_rois(network, rois, IMAGES * BOXES);
}

typedef struct subject {
    const char *cfg, *calibration; /* NULL: it has none, and runs in single precision alone */
    bool has_chains;
} subject;

static const subject subjects[] = {
    {"tests/emulated/mixed.cfg", NULL, false},
    {"tests/emulated/branch.cfg", NULL, false},
    {"tests/emulated/chains.cfg", "tests/emulated/chains.int8", true},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

/* What the layers of interest answer, one after the other; ends[i] is where the i-th one's end. */
typedef struct answers {
    float *values;
    int64_t ends[MOST];
    int32_t layers;
    int32_t chains, low; /* steps of the plan: chains, convolutions in int8 or bf16 */
} answers;

static void keep(answers *a, const dn_layer_info *layer)
{
    const int64_t start = a->layers > 0 ? a->ends[a->layers - 1] : 0;
    const int64_t count = (int64_t)layer->live * layer->c * layer->h * layer->w;
    a->values = realloc(a->values, (size_t)(start + count) * sizeof *a->values);
    memcpy(a->values + start, layer->out, (size_t)count * sizeof *a->values);
    a->ends[a->layers++] = start + count;
}

static void count_steps(const dn_network *network, answers *a)
{
    dn_step_info step;
    for (int32_t i = 0; dn_network_get_step(network, i, &step) == DN_OK; ++i) {
        a->chains += !strcmp(step.kind, "chain");
        a->low += !strcmp(step.form, "int8") || !strcmp(step.form, "bf16");
    }
}

static bool is_int8(dn_precision precision)
{
    return precision == DN_PRECISION_INT8 || precision == DN_PRECISION_INT8_EVERYWHERE;
}

static answers run(const subject *s, const char *isa, dn_precision precision)
{
    if (!dn_test_isa(isa)) return (answers){0};
    const dn_network_options options = {.batch = IMAGES,
                                        .threads = 1,
                                        .seed = 7,
                                        .precision = precision,
                                        .calibration = is_int8(precision) ? s->calibration : NULL};
    dn_network *network;
    dn_network_info info;
    dn_layer_info layer;
    answers a = {0};
    if (dn_network_create(s->cfg, &options, &network) != DN_OK) give_up(s->cfg);
    dn_network_get_info(network, &info);
    scatter(network, info.layer_count);
    place_boxes(network, &info);
    const int64_t count = (int64_t)IMAGES * info.channels * info.height * info.width;
    float *input = malloc((size_t)count * sizeof *input);
    uint32_t state = 2;
    for (int64_t i = 0; i < count; ++i) input[i] = next_random(&state);
    if (dn_network_forward(network, input, IMAGES, .5f) != DN_OK) give_up(s->cfg);
    for (int32_t i = 0; i < info.layer_count; ++i) {
        dn_network_get_layer(network, i, &layer);
        const bool is_answer = !strcmp(layer.type, "yolo") || !strcmp(layer.type, "mask");
        if (is_answer || i == info.layer_count - 1) keep(&a, &layer);
    }
    count_steps(network, &a);
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

#define INT8_ALL DN_PRECISION_INT8_EVERYWHERE
#define BF16_ALL DN_PRECISION_BF16_EVERYWHERE

/* In the same low precision, AVX2's values are allowed to be far less apart than that precision is
 * from f32, but more than some inputs that round otherwise make of it. */
static const struct {
    const char *name, *isa;
    dn_precision precision, wanted; /* wanted: AVX2's */
    double allowed;
} ways[] = {
    {"layer by layer", "avx512", DN_PRECISION_PLAIN, DN_PRECISION_PLAIN, 1e-4},
    {"without Winograd", "avx512", DN_PRECISION_EXACT, DN_PRECISION_PLAIN, 1e-4},
    {"f32", "avx512", DN_PRECISION_F32, DN_PRECISION_PLAIN, 1e-3},
    {"f32", "avx512vnni", DN_PRECISION_F32, DN_PRECISION_PLAIN, 1e-3},
    {"f32", "avx512bf16", DN_PRECISION_F32, DN_PRECISION_PLAIN, 1e-3},
    {"int8", "avx512vnni", DN_PRECISION_INT8, DN_PRECISION_PLAIN, .1},
    {"bf16", "avx512bf16", DN_PRECISION_BF16, DN_PRECISION_PLAIN, .05},
    {"int8-everywhere", "avx2", INT8_ALL, DN_PRECISION_PLAIN, .1},
    {"int8-everywhere", "avx512", INT8_ALL, INT8_ALL, 5e-3},
    {"int8-everywhere", "avx512vnni", INT8_ALL, INT8_ALL, 5e-3},
    {"int8-everywhere", "avx512bf16", INT8_ALL, INT8_ALL, 5e-3},
    {"bf16-everywhere", "avx512", BF16_ALL, BF16_ALL, 5e-3},
    {"bf16-everywhere", "avx512bf16", BF16_ALL, BF16_ALL, 5e-3},
};
enum { WAYS = sizeof ways / sizeof *ways };

static bool is_low(dn_precision precision)
{
    return is_int8(precision) || precision == DN_PRECISION_BF16 || precision == BF16_ALL;
}

/* Low precision where it is asked for, and nowhere else; chains in single precision. */
static bool has_steps(const subject *s, dn_precision precision, const answers *found)
{
    if (is_low(precision) != (found->low > 0)) return false;
    const bool single = precision == DN_PRECISION_F32 || precision == DN_PRECISION_EXACT;
    return !single || s->has_chains == (found->chains > 0);
}

typedef struct result {
    int passed, failed;
} result;

static void check(const subject *s, result *all)
{
    answers wanted = {0};
    for (int i = 0; i < WAYS; ++i) {
        if (is_low(ways[i].precision) && !s->calibration) continue;
        if (i == 0 || ways[i].wanted != ways[i - 1].wanted) {
            free(wanted.values);
            wanted = run(s, "avx2", ways[i].wanted);
        }
        answers found = run(s, ways[i].isa, ways[i].precision);
        const double apart = difference(&wanted, &found);
        const bool passed = apart <= ways[i].allowed && has_steps(s, ways[i].precision, &found);
        printf("%s, %s, %s: %.1e (%d chains, %d low)\n", s->cfg, ways[i].isa, ways[i].name, apart,
               (int)found.chains, (int)found.low);
        fflush(stdout);
        all->passed += passed;
        all->failed += !passed;
        free(found.values);
    }
    free(wanted.values);
}

int main(void)
{
    result all = {0};
    for (int i = 0; i < SUBJECTS; ++i) check(&subjects[i], &all);
    printf("%d passed, %d failed\n", all.passed, all.failed);
    return all.failed > 0 || all.passed == 0;
}
