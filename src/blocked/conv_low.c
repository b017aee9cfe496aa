/* The forms of low precision. See conv_low.h.
 *
 * Which problems they take does not depend on the machine (which of those they get does, unless low
 * precision is wanted everywhere): enough channels to fill words, inputs that are used often enough
 * to pay for turning them into words, and groups that fill whole blocks of every instruction set.
 * The first layer (planar input) and depthwise convolutions stay float32; in bf16 those that
 * Winograd's forms take, too: bfloat16 makes products twice as fast where the machine has them,
 * Winograd spares three of four.
 *
 * Packed: where integer sums start and their scale, (blocks, lanes) each, then the direct form's
 * items.
 */
#include "blocked/conv_low.h"

#include "blocked/throughput.h"

enum {
    LEAST_CHANNELS = 16,
    LEAST_USES = 16, /* of an input, by filters and taps */
    GROUP_CHANNELS = 64,
    GROUP_FILTERS = 16,
    TASK_FLOATS = 1 << 14 /* of phase 0, at least */
};

static const dn_conv_low *low_of(const dn_conv_problem *problem)
{
    return problem->precision == DN_CONV_INT8 ? &DN_ISA_NAME(dn_conv_low_int8)
                                              : &DN_ISA_NAME(dn_conv_low_bf16);
}

static const dn_conv_form *direct(void)
{
    return &DN_ISA_NAME(dn_conv_direct);
}

/* The problem that phase 1 solves: words for channels, the border a part of the input. */
static dn_conv_problem in_words(const dn_conv_problem *problem)
{
    dn_conv_problem words = *problem;
    dn_conv_geometry *g = &words.geometry;
    g->c = dn_blocks(g->c, low_of(problem)->in_word);
    g->h += 2 * g->pad;
    g->w += 2 * g->pad;
    g->pad = 0;
    return words;
}

static bool within(int32_t outputs, int32_t stride, int32_t reach, int32_t size)
{
    return (outputs - 1) * stride + reach <= size;
}

static bool winograd_takes(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    return g->size == 3 && g->stride_x == 1 && g->stride_y == 1 && g->dilation == 1 &&
           problem->groups == 1 && !problem->planar_out;
}

static bool fits(const dn_conv_problem *problem)
{
    if (problem->precision == DN_CONV_F32) return false;
    if (problem->precision == DN_CONV_BF16 && winograd_takes(problem)) return false;
    const dn_conv_problem words = in_words(problem);
    const dn_conv_geometry *g = &words.geometry;
    const int32_t taps = g->size * g->size, reach = (g->size - 1) * g->dilation + 1;
    const bool groups_fit = problem->groups == 1 || (problem->geometry.c % GROUP_CHANNELS == 0 &&
                                                     problem->filters % GROUP_FILTERS == 0);
    return direct()->fits(&words) && groups_fit && problem->geometry.c >= LEAST_CHANNELS &&
           problem->filters * taps >= LEAST_USES * g->stride_x * g->stride_y &&
           problem->geometry.c <= low_of(problem)->most_inputs / taps &&
           within(g->out_h, g->stride_y, reach, g->h) && within(g->out_w, g->stride_x, reach, g->w);
}

/* The walk's, whose steps multiply words, and the turning of inputs into words. */
static double cost(const dn_conv_problem *problem, int32_t threads)
{
    const dn_conv_problem words = in_words(problem);
    const dn_conv_geometry *g = &words.geometry;
    const double floats = (double)problem->geometry.c * problem->groups * g->h * g->w;
    const double cycles = DN_CONVERT_CYCLES * floats * problem->images / DN_LANES;
    return low_of(problem)->cycles * direct()->cost(&words, threads) + cycles / 3500 / threads + 1;
}

/* ---- weights ---- */

static int64_t list_words(const dn_conv_problem *problem)
{
    const int32_t words = dn_blocks(problem->groups * problem->filters, DN_LANES) * DN_LANES;
    return low_of(problem)->weight_scale ? (words + 15) / 16 * 16 : 0;
}

static int64_t packed_bytes(const dn_conv_problem *problem)
{
    const dn_conv_problem words = in_words(problem);
    return 4 * 2 * list_words(problem) + direct()->packed_bytes(&words);
}

static int32_t pack_tasks(const dn_conv_problem *problem)
{
    const dn_conv_problem words = in_words(problem);
    return direct()->pack_tasks(&words);
}

/* Filters first_filter.. of a pair, block by block of words: (block, taps, lanes, width). */
static void pack_blocks(const dn_conv_problem *problem, const float *weights, const float *factor,
                        const float *scales, int32_t *sums, int32_t live, int32_t width,
                        uint32_t *to)
{
    const dn_conv_low *low = low_of(problem);
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t taps = g->size * g->size, block = low->in_word * DN_LANES;
    dn_low_filter filter = {.taps = taps, .stride = width};
    for (int32_t first = 0; first < g->c; first += block, to += taps * DN_LANES * width) {
        filter.channels = g->c - first < block ? g->c - first : block;
        memset(to, 0, (size_t)(taps * DN_LANES * width) * sizeof *to);
        for (int32_t f = 0; f < live; ++f) {
            filter.weights = weights + ((int64_t)f * g->c + first) * taps;
            filter.factor = factor ? factor[f] : 1.0f;
            filter.scale = scales[f];
            filter.to = to + f;
            sums[f] += low->pack(&filter);
        }
    }
}

static void pack(const dn_conv_problem *problem, const float *weights, const float *factor,
                 void *packed, int32_t task)
{
    const dn_conv_low *low = low_of(problem);
    const dn_conv_geometry *g = &problem->geometry;
    const dn_conv_problem words = in_words(problem);
    const int32_t pairs = direct()->pack_tasks(&words) / problem->groups;
    const int32_t first = task % pairs * DN_TILE_VECTORS * DN_LANES;
    const int64_t channel = (int64_t)(task / pairs) * problem->filters + first;
    const int32_t inputs = g->c * g->size * g->size, lists = (int32_t)list_words(problem);
    int32_t vectors;
    uint32_t *to =
        (uint32_t *)packed + 2 * lists + DN_ISA_NAME(dn_conv_direct_item)(&words, task, &vectors);
    const int32_t width = vectors * DN_LANES, rest = problem->filters - first;
    const int32_t live = rest < width ? rest : width;
    int32_t sums[DN_TILE_VECTORS * DN_LANES] = {0};
    float scales[DN_TILE_VECTORS * DN_LANES] = {0};
    weights += channel * inputs;
    if (factor) factor += channel;
    for (int32_t f = 0; low->weight_scale && f < live; ++f)
        scales[f] =
            low->weight_scale(weights + (int64_t)f * inputs, factor ? factor[f] : 1.0f, inputs);
    pack_blocks(problem, weights, factor, scales, sums, live, width, to);
    for (int32_t f = 0; low->weight_scale && f < width; ++f) {
        ((int32_t *)packed)[channel + f] = -problem->in_quant.zero * sums[f];
        ((float *)packed)[lists + channel + f] = problem->in_quant.scale * scales[f];
    }
}

/* ---- the input in words ---- */

static int32_t word_blocks(const dn_conv_problem *problem)
{
    const int32_t channels = problem->groups * problem->geometry.c;
    return dn_blocks(channels, low_of(problem)->in_word * DN_LANES);
}

static int64_t image_words(const dn_conv_problem *problem)
{
    const dn_conv_problem words = in_words(problem);
    return (int64_t)word_blocks(problem) * words.geometry.h * words.geometry.w * DN_LANES;
}

static int64_t shared_bytes(const dn_conv_problem *problem)
{
    return 4 * problem->images * image_words(problem);
}

static int64_t scratch_bytes(const dn_conv_problem *problem)
{
    const dn_conv_problem words = in_words(problem);
    return direct()->scratch_bytes(&words);
}

/* Rows of phase 0's task: of all blocks of an image, with the border. */
static int32_t task_rows(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int64_t row = (int64_t)problem->groups * g->c * (g->w + 2 * g->pad);
    return (int32_t)((TASK_FLOATS + row - 1) / row);
}

static int32_t tasks(const dn_conv_call *call, int32_t phase, int32_t threads)
{
    const dn_conv_problem words = in_words(&call->problem);
    if (phase == 0)
        return call->problem.images * dn_blocks(words.geometry.h, task_rows(&call->problem));
    dn_conv_call in_words_call = *call;
    in_words_call.problem = words;
    return direct()->tasks(&in_words_call, 0, threads);
}

static uint32_t *fill(uint32_t *to, int32_t pixels, uint32_t word)
{
    for (int32_t i = 0; i < pixels * DN_LANES; ++i) to[i] = word;
    return to + pixels * DN_LANES;
}

/* A row of a block of words, from as many blocks of floats as it holds; in: NULL above and below
 * the image. */
static void convert_row(const dn_conv_problem *problem, const float *in, int32_t blocks,
                        uint32_t *to)
{
    const dn_conv_low *low = low_of(problem);
    const dn_conv_geometry *g = &problem->geometry;
    const int64_t plane = (int64_t)g->h * g->w * DN_LANES;
    const uint32_t border = low->padding(&problem->in_quant);
    const int32_t part = DN_LANES / low->in_word; /* words that a block of floats becomes */
    if (!in) {
        fill(to, g->w + 2 * g->pad, border);
        return;
    }
    to = fill(to, g->pad, border);
    if (blocks < low->in_word) fill(to, g->w, 0);
    for (int32_t b = 0; b < blocks; ++b)
        low->convert(&problem->in_quant, in + b * plane, g->w, to + b * part);
    fill(to + (int64_t)g->w * DN_LANES, g->pad, border);
}

static void convert_rows(const dn_conv_call *call, int32_t task)
{
    const dn_conv_problem *problem = &call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t height = g->h + 2 * g->pad, width = g->w + 2 * g->pad;
    const int32_t rows = task_rows(problem), per_image = dn_blocks(height, rows);
    const int32_t image = task / per_image, first = task % per_image * rows;
    const int32_t end = first + rows < height ? first + rows : height;
    const int32_t in_word = low_of(problem)->in_word, all = word_blocks(problem);
    const int32_t blocks = dn_blocks(problem->groups * g->c, DN_LANES);
    uint32_t *to = (uint32_t *)call->shared + image * image_words(problem);
    for (int32_t block = 0; block < all; ++block)
        for (int32_t row = first; row < end; ++row) {
            const int32_t from = block * in_word, y = row - g->pad;
            const bool inside = y >= 0 && y < g->h;
            const float *in = call->in.data + image * call->in.image_stride +
                              ((int64_t)from * g->h + (inside ? y : 0)) * g->w * DN_LANES;
            convert_row(problem, inside ? in : NULL,
                        blocks - from < in_word ? blocks - from : in_word,
                        to + ((int64_t)block * height + row) * width * DN_LANES);
        }
}

static void run(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)
{
    if (phase == 0) {
        convert_rows(call, task);
        return;
    }
    const dn_conv_low *low = low_of(&call->problem);
    const int64_t lists = list_words(&call->problem);
    const float *packed = call->packed;
    const dn_conv_products products = {.kernel = low->kernel,
                                       .start = low->weight_scale ? packed : NULL,
                                       .scale = low->weight_scale ? packed + lists : NULL};
    dn_conv_call words = *call;
    words.problem = in_words(&call->problem);
    words.in.data = call->shared;
    words.in.image_stride = image_words(&call->problem);
    words.packed = packed + 2 * lists;
    DN_ISA_NAME(dn_conv_direct_task)(&words, &products, task, scratch);
}

#define FORM(precision_name, its_precision)                                                        \
    extern const dn_conv_form DN_ISA_NAME(dn_conv_##precision_name);                               \
    const dn_conv_form DN_ISA_NAME(dn_conv_##precision_name) = {                                   \
        .name = #precision_name,                                                                   \
        .precision = its_precision,                                                                \
        .exact = true,                                                                             \
        .phases = 2,                                                                               \
        .fits = fits,                                                                              \
        .cost = cost,                                                                              \
        .packed_bytes = packed_bytes,                                                              \
        .pack_tasks = pack_tasks,                                                                  \
        .pack = pack,                                                                              \
        .shared_bytes = shared_bytes,                                                              \
        .scratch_bytes = scratch_bytes,                                                            \
        .tasks = tasks,                                                                            \
        .run = run,                                                                                \
    }

FORM(int8, DN_CONV_INT8);
FORM(bf16, DN_CONV_BF16);
