/* Steps other than convolutions: rows of blocked tensors, reorders, layers as they are. See plan.h.
 */
#include "infer/plan.h"

/* ---- layers as they are ---- */

static dn_status plain_begin(dn_plan *plan, dn_step *step, const dn_pass *pass)
{
    dn_pass own = *pass;
    own.training = false;
    own.workspace = plan->workspace;
    return step->layer->type->cpu.forward(step->layer, &own);
}

const dn_step_type dn_step_plain = {.name = "plain", .begin = plain_begin};

/* ---- reorders: a task is a block of channels of an image ---- */

static dn_status reorder_begin(dn_plan *plan, dn_step *step, const dn_pass *pass)
{
    (void)pass;
    step->planar = step->layer ? step->layer->out.data : plan->network->input.data;
    return DN_OK;
}

static const dn_blocked *blocked_of(const dn_step *step)
{
    return step->writes_planar ? &step->in[0] : &step->out;
}

static int32_t reorder_tasks(dn_step *step, int32_t phase, int32_t threads)
{
    (void)phase, (void)threads;
    return step->images * dn_blocks(blocked_of(step)->c, step->kernels->lanes);
}

static void reorder_run(const dn_step *step, int32_t phase, int32_t task, void *scratch)
{
    const dn_blocked *blocked = blocked_of(step);
    const int32_t blocks = dn_blocks(blocked->c, step->kernels->lanes);
    const int32_t image = task / blocks, block = task % blocks;
    (void)phase, (void)scratch;
    if (step->writes_planar)
        step->kernels->to_planar(blocked, step->planar, image, block, block + 1);
    else
        step->kernels->to_blocked(step->planar, blocked, image, block, block + 1);
}

const dn_step_type dn_step_to_blocked = {
    .name = "to blocked", .begin = reorder_begin, .tasks = reorder_tasks, .run = reorder_run};
const dn_step_type dn_step_to_planar = {
    .name = "to planar", .begin = reorder_begin, .tasks = reorder_tasks, .run = reorder_run};

/* ---- rows ---- */

enum { DN_TASKS_A_THREAD = 4 };

static int32_t divided_up(int32_t a, int32_t b)
{
    return (a + b - 1) / b;
}

/* A few tasks a thread: pieces are rows of a block where blocks are few, many blocks else. */
static int32_t row_tasks(dn_step *step, int32_t phase, int32_t threads)
{
    dn_row_cut *cut = &step->cut;
    const int32_t wanted = DN_TASKS_A_THREAD * threads;
    const int32_t planes = step->images * step->block_count, h = step->out.h;
    (void)phase;
    int32_t chunks = planes >= wanted ? 1 : divided_up(wanted, planes);
    if (chunks > h) chunks = h;
    cut->blocks = step->block_count;
    cut->rows = divided_up(h, chunks);
    cut->chunks = divided_up(h, cut->rows);
    cut->pieces = planes * cut->chunks;
    cut->per_task = divided_up(cut->pieces, 2 * wanted);
    return divided_up(cut->pieces, cut->per_task);
}

typedef void (*dn_row_work)(const dn_step *step, dn_rows rows, void *scratch);

static void run_rows(const dn_step *step, int32_t task, dn_row_work work, void *scratch)
{
    const dn_row_cut *cut = &step->cut;
    const int32_t first = task * cut->per_task;
    const int32_t last = first + cut->per_task < cut->pieces ? first + cut->per_task : cut->pieces;
    for (int32_t piece = first; piece < last; piece++) {
        const int32_t chunk = piece % cut->chunks, plane = piece / cut->chunks;
        dn_rows rows = {
            .image = plane / cut->blocks,
            .block = step->first_block + plane % cut->blocks,
            .first = chunk * cut->rows,
        };
        rows.last = rows.first + cut->rows < step->out.h ? rows.first + cut->rows : step->out.h;
        work(step, rows, scratch);
    }
}

#define DN_ROW_STEP(kind, text)                                                                    \
    static void kind##_run(const dn_step *step, int32_t phase, int32_t task, void *scratch)        \
    {                                                                                              \
        (void)phase;                                                                               \
        run_rows(step, task, kind##_rows, scratch);                                                \
    }                                                                                              \
    const dn_step_type dn_step_##kind = {.name = text, .tasks = row_tasks, .run = kind##_run}

static void maxpool_rows(const dn_step *step, dn_rows rows, void *scratch)
{
    step->kernels->maxpool(&step->pool, &step->in[0], &step->out, rows, scratch);
}

static void maxpool_run(const dn_step *step, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    run_rows(step, task, maxpool_rows, scratch);
}

static int64_t maxpool_scratch(const dn_step *step)
{
    return (int64_t)step->pool.h * step->pool.out_w * step->kernels->lanes * (int64_t)sizeof(float);
}

const dn_step_type dn_step_maxpool = {
    .name = "max", .tasks = row_tasks, .run = maxpool_run, .scratch_bytes = maxpool_scratch};

static void upsample_rows(const dn_step *step, dn_rows rows, void *scratch)
{
    (void)scratch;
    step->kernels->upsample(step->enlargement, step->factors[0], &step->in[0], &step->out, rows);
}

static void add_rows(const dn_step *step, dn_rows rows, void *scratch)
{
    (void)scratch;
    step->kernels->add(step->factors, &step->in[0], &step->in[1], step->activation, &step->out,
                       rows);
}

static void scale_rows(const dn_step *step, dn_rows rows, void *scratch)
{
    (void)scratch;
    step->kernels->scale(&step->in[0], &step->in[1], step->activation, &step->out, rows);
}

static void activate_rows(const dn_step *step, dn_rows rows, void *scratch)
{
    (void)scratch;
    step->kernels->activate(&step->in[0], step->activation, &step->out, rows);
}

static void average_rows(const dn_step *step, dn_rows rows, void *scratch)
{
    (void)scratch;
    step->kernels->average(&step->in[0], &step->out, rows);
}

static void copy_rows(const dn_step *step, dn_rows rows, void *scratch)
{
    (void)scratch;
    step->kernels->copy(step->copy, &step->in[0], &step->out, rows);
}

DN_ROW_STEP(upsample, "upsample");
DN_ROW_STEP(add, "sum");
DN_ROW_STEP(scale, "scale");
DN_ROW_STEP(activate, "activation");
DN_ROW_STEP(average, "avg");
DN_ROW_STEP(copy, "copy");
