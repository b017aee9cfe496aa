/* Every form of the convolution against sums in double precision: a program for a machine that
 * pytest does not run on (`make neon-check` compiles it for Arm and runs it under qemu-user).
 *
 * For each instruction set that the machine has, each form runs each problem that it fits; an
 * output may differ by a share of the sum of the products' sizes (Winograd's by a larger one).
 * Inputs and weights are whole multiples of UNIT that int8 and bfloat16 hold without rounding, so
 * one sum is the truth for forms of every precision.
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
    {.conv = {2, 1, 45, 37, 7, 5, 1, 1, 1, 0, 1, 7, 5, "linear", false, 2}, .planar_out = true},
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

typedef struct arrays {
    float *in, *weights, *factor, *shift, *add, *out;
    int64_t out_count;
} arrays;

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
    return a;
}

static void free_arrays(arrays *a)
{
    free(a->in), free(a->weights), free(a->factor), free(a->shift), free(a->add), free(a->out);
}

static float activate(const char *name, float x)
{
    int kind = 0;
    while (strcmp(dn_activation_names[kind], name) != 0) ++kind;
    return dn_activate((dn_activation)kind, x);
}

/* The sum behind output (n, f, y, x) and, in *size, the sum of its products' sizes. */
static double sum_of(const dn_test_conv_args *c, const arrays *a, int n, int f, int y, int x,
                     double *size)
{
    double sum = 0;
    *size = 0;
    const int first = f / c->filters * c->c;
    for (int i = 0; i < c->c * c->size * c->size; ++i) {
        const int k = i / (c->size * c->size), ky = i / c->size % c->size, kx = i % c->size;
        const int iy = y * c->stride_y - c->pad + ky * c->dilation;
        const int ix = x * c->stride_x - c->pad + kx * c->dilation;
        if (iy < 0 || iy >= c->h || ix < 0 || ix >= c->w) continue;
        const int64_t channel = (int64_t)n * c->groups * c->c + first + k;
        const double product = (double)a->in[(channel * c->h + iy) * c->w + ix] *
                               (double)a->weights[(int64_t)f * c->c * c->size * c->size + i];
        sum += product;
        *size += fabs(product);
    }
    return sum;
}

/* The largest difference, in units of the allowed one. */
static double worst(const dn_test_conv_form_args *p, const arrays *a, double tolerance)
{
    const dn_test_conv_args *c = &p->conv;
    const int filters = c->groups * c->filters, plane = c->out_h * c->out_w;
    double most = 0;
    for (int64_t i = 0; i < a->out_count; ++i) {
        const int n = (int)(i / plane / filters), f = (int)(i / plane % filters);
        double size;
        const double sum =
            sum_of(c, a, n, f, (int)(i % plane) / c->out_w, (int)(i % c->out_w), &size);
        const double factor = (double)a->factor[f];
        float wanted = activate(c->activation, (float)(sum * factor + (double)a->shift[f]));
        if (p->adds) wanted += a->add[i];
        const double allowed = tolerance * (size * fabs(factor) + fabs((double)a->shift[f]) + 1);
        const double difference = fabs((double)a->out[i] - (double)wanted) / allowed;
        if (!(difference <= most)) most = difference; /* NaN counts, too */
    }
    return most;
}

/* Runs what fits; adds to *ran, returns how many failed. */
static int check(const char *isa, const char *form, int *ran)
{
    int failed = 0;
    const double tolerance = strstr(form, "winograd") ? 2e-4 : 2e-6;
    for (int i = 0; i < PROBLEMS; ++i) {
        dn_test_conv_form_args p = problems[i];
        p.after_add = "linear";
        p.rounds = 1;
        p.in_scale = UNIT;
        p.in_zero = ZERO;
        arrays a = make_arrays(&p.conv);
        const double seconds =
            dn_test_conv_form(&p, form, a.in, a.weights, a.factor, a.shift, a.add, a.out);
        if (seconds != -2.0) {
            ++*ran;
            const double most = seconds < 0 ? (double)INFINITY : worst(&p, &a, tolerance);
            if (!(most <= 1)) {
                ++failed;
                printf("%s: %s, problem %d: %g times the allowed difference\n", isa, form, i, most);
            }
        }
        free_arrays(&a);
    }
    return failed;
}

int main(void)
{
    static const char *const isas[] = {"plain",  "neon",       "avx2",
                                       "avx512", "avx512vnni", "avx512bf16"};
    int ran = 0, failed = 0;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; ++i) {
        if (!dn_test_isa(isas[i])) continue;
        const int before = ran, failed_before = failed;
        for (int form = 0; dn_test_conv_form_name(form); ++form)
            failed += check(isas[i], dn_test_conv_form_name(form), &ran);
        const int new_failed = failed - failed_before;
        printf("%s: %d passed, %d failed\n", isas[i], ran - before - new_failed, new_failed);
    }
    return failed || ran == 0;
}
