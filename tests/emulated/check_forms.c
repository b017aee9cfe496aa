/* Every form of the convolution against sums in double precision: a program for a machine that
 * pytest does not run on (`make neon-check` runs it under qemu-user, `make avx512-check` on Bochs).
 *
 * usage: check_forms [instruction set...]: each must be there; without, all that the machine has.
 * For each, each form runs each problem that it fits; an output may differ by a share of the sum
 * of the products' sizes (Winograd's by a larger one).
 * Inputs and weights are whole multiples of UNIT that int8 and bfloat16 hold without rounding, so
 * one sum is the truth for forms of every precision. Beside that, what low precision is given.
 */
#include "darknet.h"
#include "math/activation.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const dn_test_conv_form_args problems[] = {
    /* images groups filters c h w size stride_x stride_y pad dilation out_h out_w */
    {.conv = {1, 1, 24, 16, 13, 11, 3, 1, 1, 1, 1, 13, 11, "leaky", false, 2}},
    {.conv = {2, 1, 19, 21, 9, 17, 3, 1, 1, 1, 1, 9, 17, "mish", false, 1}, .adds = true},
    {.conv = {1, 1, 32, 12, 14, 14, 3, 2, 2, 1, 1, 7, 7, "relu", false, 2}},
    {.conv = {2, 1, 53, 37, 13, 11, 1, 1, 1, 0, 1, 13, 11, "linear", false, 2}, .planar_out = true},
    {.conv = {1, 1, 16, 64, 8, 8, 1, 1, 1, 0, 1, 8, 8, "swish", false, 2}, .adds = true},
    {.conv = {1, 1, 16, 3, 15, 18, 3, 2, 2, 1, 1, 8, 9, "leaky", false, 2}, .planar_in = true},
    {.conv = {1, 1, 8, 3, 10, 12, 3, 1, 1, 1, 1, 10, 12, "leaky", false, 1}, .planar_in = true},
    {.conv = {1, 24, 1, 1, 12, 9, 3, 1, 1, 1, 1, 12, 9, "relu", false, 2}},
    {.conv = {1, 20, 1, 1, 11, 13, 5, 2, 2, 2, 1, 6, 7, "leaky", false, 2}},
    {.conv = {1, 2, 16, 8, 9, 9, 3, 1, 1, 1, 1, 9, 9, "leaky", false, 2}},
    {.conv = {1, 1, 10, 9, 11, 12, 3, 1, 1, 2, 2, 11, 12, "logistic", false, 2}},
    {.conv = {1, 1, 40, 150, 6, 31, 3, 1, 1, 1, 1, 6, 31, "leaky", false, 2}},
    {.conv = {1, 1, 70, 100, 9, 9, 3, 2, 2, 1, 1, 5, 5, "relu", false, 1}, .adds = true},
    {.conv = {2, 2, 16, 64, 7, 9, 1, 1, 1, 0, 1, 7, 9, "linear", false, 2}},
};
enum { PROBLEMS = sizeof problems / sizeof *problems };

#define UNIT (1.f / 256)
enum { ZERO = 128 /* what stands for 0 among the inputs of int8, 0..255 */ };

/* In -127 .. 127 units. */
static float *random_values(int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; ++i) values[i] = (float)(rand() % 255 - 127) * UNIT;
    return values;
}

/* What a problem's forms read and write, and the truth: for each output its sum and the sum of its
 * products' sizes. */
typedef struct arrays {
    float *in, *weights, *factor, *shift, *add, *out;
    double *sums, *sizes;
    int64_t out_count;
} arrays;

/* Adds what tap (k, ky, kx) of filter f gives to the outputs of image n. */
static void add_tap(const dn_test_conv_args *c, arrays *a, int n, int f, int k, int ky, int kx)
{
    const int64_t channel = ((int64_t)n * c->groups + f / c->filters) * c->c + k;
    const double weight =
        (double)a->weights[(((int64_t)f * c->c + k) * c->size + ky) * c->size + kx];
    /* the outputs of a row to which the tap gives something */
    const int left = c->pad - kx * c->dilation, right = c->w - 1 + left;
    const int first = left > 0 ? (left + c->stride_x - 1) / c->stride_x : 0;
    const int past = right < 0 ? 0 : right / c->stride_x + 1;
    const int end = past < c->out_w ? past : c->out_w;
    for (int y = 0; y < c->out_h; ++y) {
        const int iy = y * c->stride_y - c->pad + ky * c->dilation;
        if (iy < 0 || iy >= c->h) continue;
        const float *in = a->in + (channel * c->h + iy) * c->w - left;
        const int64_t out = (((int64_t)n * c->groups * c->filters + f) * c->out_h + y) * c->out_w;
        double *restrict sums = a->sums + out, *restrict sizes = a->sizes + out;
        for (int x = first; x < end; ++x) {
            const double product = (double)in[x * c->stride_x] * weight;
            sums[x] += product;
            sizes[x] += fabs(product);
        }
    }
}

static void find_truth(const dn_test_conv_args *c, arrays *a)
{
    for (int n = 0; n < c->images; ++n)
        for (int f = 0; f < c->groups * c->filters; ++f)
            for (int i = 0; i < c->c * c->size * c->size; ++i)
                add_tap(c, a, n, f, i / (c->size * c->size), i / c->size % c->size, i % c->size);
}

static arrays make_arrays(const dn_test_conv_args *c)
{
    const int64_t filters = (int64_t)c->groups * c->filters;
    arrays a = {.out_count = c->images * filters * c->out_h * c->out_w};
    a.in = random_values((int64_t)c->images * c->groups * c->c * c->h * c->w);
    a.weights = random_values(filters * c->c * c->size * c->size);
    for (int64_t f = 0; f < filters; ++f) /* int8's scale of each filter is a power of 2 */
        a.weights[f * c->c * c->size * c->size] = 127 * UNIT;
    a.factor = random_values(filters);
    for (int64_t f = 0; f < filters; ++f) a.factor[f] = a.factor[f] < 0 ? -.5f : 2;
    a.shift = random_values(filters);
    a.add = random_values(a.out_count);
    a.out = malloc((size_t)a.out_count * sizeof *a.out);
    a.sums = calloc((size_t)a.out_count, sizeof *a.sums);
    a.sizes = calloc((size_t)a.out_count, sizeof *a.sizes);
    find_truth(c, &a);
    return a;
}

static void free_arrays(arrays *a)
{
    free(a->in), free(a->weights), free(a->factor), free(a->shift), free(a->add), free(a->out);
    free(a->sums), free(a->sizes);
}

static float activate(const char *name, float x)
{
    int kind = 0;
    while (strcmp(dn_activation_names[kind], name) != 0) ++kind;
    return dn_activate((dn_activation)kind, x);
}

/* The largest difference, in units of the allowed one. */
static double worst(const dn_test_conv_form_args *p, const arrays *a, double tolerance)
{
    const dn_test_conv_args *c = &p->conv;
    const int filters = c->groups * c->filters, plane = c->out_h * c->out_w;
    double most = 0;
    for (int64_t i = 0; i < a->out_count; ++i) {
        const int f = (int)(i / plane % filters);
        const double factor = (double)a->factor[f], shift = (double)a->shift[f];
        float wanted = activate(c->activation, (float)(a->sums[i] * factor + shift));
        if (p->adds) wanted += a->add[i];
        const double allowed = tolerance * (a->sizes[i] * fabs(factor) + fabs(shift) + 1);
        const double difference = fabs((double)a->out[i] - (double)wanted) / allowed;
        if (!(difference <= most)) most = difference; /* NaN counts, too */
    }
    return most;
}

typedef struct instruction_set {
    const char *name;
    int passed, failed;
} instruction_set;

/* One problem by each form that fits. */
static void check(instruction_set *set, int problem, arrays *a)
{
    dn_test_conv_form_args p = problems[problem];
    p.after_add = "linear";
    p.rounds = 1;
    p.in_scale = UNIT;
    p.in_zero = ZERO;
    const char *form;
    for (int i = 0; (form = dn_test_conv_form_name(i)) != NULL; ++i) {
        for (int64_t j = 0; j < a->out_count; ++j) a->out[j] = NAN;
        const double seconds =
            dn_test_conv_form(&p, form, a->in, a->weights, a->factor, a->shift, a->add, a->out);
        if (seconds == -2.0) continue; /* it does not fit */
        const double tolerance = strstr(form, "winograd") ? 2e-4 : 2e-6;
        const double most = seconds < 0 ? (double)INFINITY : worst(&p, a, tolerance);
        if (most <= 1) {
            ++set->passed;
        } else {
            ++set->failed;
            printf("%s: %s, problem %d: %g times the allowed difference\n", set->name, form,
                   problem, most);
        }
    }
}

/* What a network that allows a precision gets; "": any form of float32. */
static const struct {
    const char *isa;
    dn_precision precision;
    const char *strided, *winograd; /* of a 3x3 convolution with stride 2, with stride 1 */
} choices[] = {
    {"plain", DN_PRECISION_INT8, "", ""},
    {"plain", DN_PRECISION_BF16, "", ""},
    {"neon", DN_PRECISION_INT8, "", ""},
    {"neon", DN_PRECISION_BF16, "", ""},
    {"avx2", DN_PRECISION_INT8, "int8", ""},
    {"avx2", DN_PRECISION_BF16, "", ""},
    {"avx512", DN_PRECISION_INT8, "", ""},
    {"avx512", DN_PRECISION_BF16, "", ""},
    {"avx512vnni", DN_PRECISION_INT8, "int8", "int8"},
    {"avx512vnni", DN_PRECISION_BF16, "", ""},
    {"avx512bf16", DN_PRECISION_INT8, "int8", "int8"},
    {"avx512bf16", DN_PRECISION_BF16, "bf16", ""},
};

static void check_choice(instruction_set *set, int row, int stride, const char *wanted)
{
    const int out = 26 / stride;
    const dn_test_conv_form_args p = {
        .conv = {1, 1, 512, 256, 26, 26, 3, stride, stride, 1, 1, out, out, "leaky", false, 2},
        .after_add = "linear",
        .in_scale = UNIT,
        .in_zero = ZERO};
    if (!*wanted) wanted = dn_test_conv_choice(&p, DN_PRECISION_F32);
    const char *found = dn_test_conv_choice(&p, choices[row].precision);
    if (strcmp(found, wanted) == 0) {
        ++set->passed;
        return;
    }
    ++set->failed;
    printf("%s: row %d, stride %d: %s, not %s\n", set->name, row, stride, found, wanted);
}

static void check_choices(instruction_set *set)
{
    for (int i = 0; i < (int)(sizeof choices / sizeof *choices); ++i) {
        if (strcmp(choices[i].isa, set->name) != 0) continue;
        check_choice(set, i, 2, choices[i].strided);
        check_choice(set, i, 1, choices[i].winograd);
    }
}

static bool is_asked_for(const char *isa, int count, char **names)
{
    for (int i = 0; i < count; ++i)
        if (strcmp(names[i], isa) == 0) return true;
    return count == 0;
}

int main(int count, char **names)
{
    instruction_set sets[] = {{.name = "plain"},  {.name = "neon"},       {.name = "avx2"},
                              {.name = "avx512"}, {.name = "avx512vnni"}, {.name = "avx512bf16"}};
    enum { SETS = sizeof sets / sizeof *sets };
    bool present[SETS];
    int checked = 0, failed = 0;
    for (int i = 0; i < SETS; ++i) {
        present[i] = is_asked_for(sets[i].name, count - 1, names + 1) && dn_test_isa(sets[i].name);
        checked += present[i];
    }
    for (int i = 0; i < SETS; ++i)
        if (present[i] && dn_test_isa(sets[i].name)) check_choices(&sets[i]);
    for (int problem = 0; problem < PROBLEMS; ++problem) {
        arrays a = make_arrays(&problems[problem].conv);
        for (int i = 0; i < SETS; ++i)
            if (present[i] && dn_test_isa(sets[i].name)) check(&sets[i], problem, &a);
        free_arrays(&a);
    }
    for (int i = 0; i < SETS; ++i) {
        if (present[i])
            printf("%s: %d passed, %d failed\n", sets[i].name, sets[i].passed, sets[i].failed);
        failed += sets[i].failed + (present[i] && sets[i].passed == 0);
    }
    if (checked < count - 1) printf("%d of %d instruction sets\n", checked, count - 1);
    return failed > 0 || checked == 0 || checked < count - 1;
}
