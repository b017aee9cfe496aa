/* Chooses and runs forms of the convolution. See conv_forms.h. */
#include "infer/conv_forms.h"

#include "math/cpu.h"
#include "math/threads.h"

#include <string.h>

extern const dn_kernels dn_kernels_plain;
#if defined(__x86_64__)
extern const dn_kernels dn_kernels_avx2, dn_kernels_avx512, dn_kernels_avx512vnni,
    dn_kernels_avx512bf16;
#elif defined(__aarch64__)
extern const dn_kernels dn_kernels_neon;
#endif

const dn_kernels *dn_kernels_in_use(void)
{
    const dn_isa isa = dn_cpu_isa();
#if defined(__x86_64__)
    if (isa == DN_ISA_AVX2) return &dn_kernels_avx2;
    if (isa == DN_ISA_AVX512) return &dn_kernels_avx512;
    if (isa == DN_ISA_AVX512VNNI) return &dn_kernels_avx512vnni;
    if (isa == DN_ISA_AVX512BF16) return &dn_kernels_avx512bf16;
#elif defined(__aarch64__)
    if (isa == DN_ISA_NEON) return &dn_kernels_neon;
#endif
    (void)isa;
    return &dn_kernels_plain;
}

dn_conv_choice dn_conv_choice_of(dn_precision precision)
{
    if (precision == DN_PRECISION_EXACT) return DN_CHOOSE_EXACT;
    const bool everywhere =
        precision == DN_PRECISION_BF16_EVERYWHERE || precision == DN_PRECISION_INT8_EVERYWHERE;
    return everywhere ? DN_CHOOSE_LOW : DN_CHOOSE_FASTEST;
}

dn_conv_precision dn_conv_precision_of(dn_precision precision)
{
    if (precision == DN_PRECISION_INT8 || precision == DN_PRECISION_INT8_EVERYWHERE)
        return DN_CONV_INT8;
    if (precision == DN_PRECISION_BF16 || precision == DN_PRECISION_BF16_EVERYWHERE)
        return DN_CONV_BF16;
    return DN_CONV_F32;
}

const dn_conv_form *dn_conv_form_named(const dn_kernels *kernels, const char *name)
{
    for (const dn_conv_form *const *form = kernels->conv_forms; *form; ++form)
        if (strcmp((*form)->name, name) == 0) return *form;
    return NULL;
}

/* Microseconds that a byte of packed weights has to save: it takes memory, is written at the start,
 * and pushes other things out of the caches. F(7 x 7) costs YOLOv3 a quarter of a gigabyte more
 * than F(4 x 4), and saves nothing that could be measured. */
static const double price_of_byte = 24e-6;

/* Low precision loses some accuracy: so much of float32's time it may take at most. */
static const double low_share = 0.95;

typedef struct dn_priced_form {
    const dn_conv_form *form; /* NULL: none */
    double price;
} dn_priced_form;

static dn_priced_form cheapest(const dn_kernels *kernels, const dn_conv_problem *problem,
                               dn_conv_precision precision, bool exact, int32_t threads)
{
    dn_priced_form best = {0};
    for (const dn_conv_form *const *form = kernels->conv_forms; *form; ++form) {
        if ((*form)->precision != precision || (exact && !(*form)->exact)) continue;
        if (!(*form)->fits(problem)) continue;
        const double price = (*form)->cost(problem, threads) +
                             price_of_byte * (double)(*form)->packed_bytes(problem);
        if (!best.form || price < best.price) best = (dn_priced_form){*form, price};
    }
    return best;
}

const dn_conv_form *dn_conv_form_choose(const dn_kernels *kernels, const dn_conv_problem *problem,
                                        dn_conv_choice choice, int32_t threads)
{
    const bool exact = choice == DN_CHOOSE_EXACT;
    const dn_priced_form floats = cheapest(kernels, problem, DN_CONV_F32, exact, threads);
    if (problem->precision == DN_CONV_F32 || exact) return floats.form;
    const dn_priced_form low = cheapest(kernels, problem, problem->precision, false, threads);
    if (!low.form || !floats.form) return low.form ? low.form : floats.form;
    const bool pays = choice == DN_CHOOSE_LOW || low.price <= low_share * floats.price;
    return pays ? low.form : floats.form;
}

void dn_conv_form_pack(const dn_conv_form *form, const dn_conv_problem *problem,
                       const float *weights, const float *factor, int32_t threads, void *packed)
{
    const int32_t tasks = form->pack_tasks(problem);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int32_t task = 0; task < tasks; ++task) form->pack(problem, weights, factor, packed, task);
}

void dn_conv_form_run(const dn_conv_form *form, const dn_conv_call *call, int32_t threads,
                      void *scratch)
{
    const int64_t bytes = (form->scratch_bytes(&call->problem) + 63) / 64 * 64;
    for (int32_t phase = 0; phase < form->phases; ++phase) {
        const int32_t tasks = form->tasks(call, phase, threads);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
        for (int32_t task = 0; task < tasks; ++task)
            form->run(call, phase, task, (char *)scratch + bytes * dn_thread_number());
    }
}
