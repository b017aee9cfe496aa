/* A form of the convolution behind a plain function, for tests and benchmarks. */
#include "core/memory.h"
#include "infer/conv_forms.h"
#include "math/clock.h"

#include <string.h>

typedef struct conv_form_test {
    const dn_kernels *kernels;
    const dn_conv_form *form;
    dn_conv_call call;
    void *blocks[6]; /* all that was allocated */
    int32_t block_count;
} conv_form_test;

static void *reserve(conv_form_test *test, int64_t bytes)
{
    void *block = dn_alloc((size_t)(bytes > 0 ? bytes : 1));
    test->blocks[test->block_count++] = block;
    return block;
}

static dn_conv_problem problem_of(const dn_test_conv_form_args *args)
{
    const dn_test_conv_args *c = &args->conv;
    dn_conv_problem problem = {
        .geometry = {c->c, c->h, c->w, c->size, c->stride_x, c->stride_y, c->pad, c->dilation,
                     c->out_h, c->out_w},
        .images = c->images,
        .groups = c->groups,
        .filters = c->filters,
        .planar_in = args->planar_in,
        .planar_out = args->planar_out,
        .adds = args->adds,
        .in_quant = {args->in_scale, args->in_zero},
    };
    for (int32_t i = 0; dn_activation_names[i]; ++i) {
        if (strcmp(dn_activation_names[i], c->activation) == 0)
            problem.activation = (dn_activation)i;
        if (strcmp(dn_activation_names[i], args->after_add) == 0)
            problem.after_add = (dn_activation)i;
    }
    return problem;
}

/* A tensor of the test's images, blocked unless planar; its values from `planar` where given. */
static dn_blocked tensor(conv_form_test *test, bool is_planar, int32_t c, int32_t h, int32_t w,
                         const float *planar)
{
    const int32_t images = test->call.problem.images, lanes = test->kernels->lanes;
    const int32_t blocks = dn_blocks(c, lanes);
    dn_blocked t = {.c = c, .h = h, .w = w};
    t.image_stride = (int64_t)(is_planar ? c : blocks * lanes) * h * w;
    t.data = reserve(test, t.image_stride * images * (int64_t)sizeof(float));
    if (!t.data || !planar) return t;
    if (is_planar)
        memcpy(t.data, planar, (size_t)(t.image_stride * images) * sizeof(float));
    else
        for (int32_t i = 0; i < images; ++i) test->kernels->to_blocked(planar, &t, i, 0, blocks);
    return t;
}

static double run(conv_form_test *test, const dn_test_conv_form_args *args, void *scratch)
{
    double best = 0;
    for (int32_t i = 0; i < args->rounds; ++i) {
        const double start = dn_now();
        dn_conv_form_run(test->form, &test->call, args->conv.threads, scratch);
        const double seconds = dn_now() - start;
        if (i == 0 || seconds < best) best = seconds;
    }
    return best;
}

static double prepare_and_run(conv_form_test *test, const dn_test_conv_form_args *args,
                              const float *in, const float *weights, const float *factor,
                              const float *shift, const float *add)
{
    const dn_test_conv_args *c = &args->conv;
    const dn_conv_problem *problem = &test->call.problem;
    const int32_t filters = c->groups * c->filters, lanes = test->kernels->lanes;
    const int64_t scratch_bytes = (test->form->scratch_bytes(problem) + 63) / 64 * 64 * c->threads;
    test->call.in = tensor(test, problem->planar_in, c->groups * c->c, c->h, c->w, in);
    test->call.out = tensor(test, problem->planar_out, filters, c->out_h, c->out_w, NULL);
    if (args->adds)
        test->call.add = tensor(test, problem->planar_out, filters, c->out_h, c->out_w, add);
    void *packed = reserve(test, test->form->packed_bytes(problem));
    float *shifts = reserve(test, (int64_t)dn_blocks(filters, lanes) * lanes * 4);
    /* one block: what the phases share, then the threads' scratch */
    const int64_t shared_bytes = (test->form->shared_bytes(problem) + 63) / 64 * 64;
    test->call.shared = dn_alloc((size_t)(shared_bytes + scratch_bytes + 64));
    bool whole = test->call.shared != NULL;
    for (int32_t i = 0; i < test->block_count; ++i) whole = whole && test->blocks[i];
    double seconds = -1;
    if (whole) {
        memcpy(shifts, shift, (size_t)filters * sizeof *shifts);
        test->call.shift = shifts;
        test->call.packed = packed;
        dn_conv_form_pack(test->form, problem, weights, factor, c->threads, packed);
        seconds = run(test, args, (char *)test->call.shared + shared_bytes);
    }
    dn_free(test->call.shared);
    return seconds;
}

double dn_test_conv_form(const dn_test_conv_form_args *args, const char *name, const float *in,
                         const float *weights, const float *factor, const float *shift,
                         const float *add, float *out)
{
    conv_form_test test = {.kernels = dn_kernels_in_use(), .call.problem = problem_of(args)};
    test.form = name ? dn_conv_form_named(test.kernels, name)
                     : dn_conv_form_choose(test.kernels, &test.call.problem,
                                           args->exact ? DN_CHOOSE_EXACT : DN_CHOOSE_FASTEST,
                                           args->conv.threads);
    if (test.form) test.call.problem.precision = test.form->precision;
    if (!test.form || !test.form->fits(&test.call.problem)) return -2.0;
    const double seconds = prepare_and_run(&test, args, in, weights, factor, shift, add);
    const dn_blocked *result = &test.call.out;
    for (int32_t i = 0; seconds >= 0 && i < args->conv.images; ++i) {
        if (args->planar_out) {
            memcpy(out + i * result->image_stride, result->data + i * result->image_stride,
                   (size_t)result->image_stride * sizeof *out);
        } else {
            test.kernels->to_planar(result, out, i, 0, dn_blocks(result->c, test.kernels->lanes));
        }
    }
    for (int32_t i = 0; i < test.block_count; ++i) dn_free(test.blocks[i]);
    return seconds;
}

const char *dn_test_conv_choice(const dn_test_conv_form_args *args, dn_precision precision)
{
    dn_conv_problem problem = problem_of(args);
    problem.precision = dn_conv_precision_of(precision);
    const dn_conv_form *form = dn_conv_form_choose(
        dn_kernels_in_use(), &problem, dn_conv_choice_of(precision), args->conv.threads);
    return form ? form->name : NULL;
}

const char *dn_test_conv_form_name(int32_t index)
{
    const dn_conv_form *const *forms = dn_kernels_in_use()->conv_forms;
    for (int32_t i = 0; i < index && *forms; ++i) ++forms;
    return *forms ? (*forms)->name : NULL;
}
