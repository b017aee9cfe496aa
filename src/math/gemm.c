/* Matrix product, blocked: C is cut into tasks, a task walks over k in blocks, packs its part of B
 * (for the L2 cache) and of A (whose panels go through the L1 cache) and runs register tiles.
 *
 * Every task packs for itself, so threads never wait for each other; the second packing of shared
 * parts costs a few per cent where the tasks are as large as here. See gemm.h for the contract.
 */
#include "math/gemm.h"

#include "math/gemm_kernel.h"
#include "math/integers.h"
#include "math/threads.h"

enum {
    BLOCK_K = 256,       /* one rounding to memory in 256 steps; a panel of A takes 14 KiB */
    BLOCK_ROWS = 224,    /* of A: 224 KiB; whole panels for all kernels (but the last) */
    BLOCK_COLUMNS = 384, /* of B: 384 KiB; whole panels for all kernels */
    SMALL_ROWS = 56,     /* tasks are not cut smaller than this */
    SMALL_COLUMNS = 96,
    TASKS_A_THREAD = 3,
};

/* How C is cut: row_tasks * column_tasks tasks of at most rows x columns. */
typedef struct task_grid {
    int32_t rows, columns;
    int32_t row_tasks, column_tasks;
} task_grid;

/* The step that cuts `length` evenly into as many parts as `step` would, in whole units. */
static int32_t even_step(int32_t length, int32_t step, int32_t unit)
{
    const int32_t part = dn_divide_up(length, dn_divide_up(length, step));
    return dn_divide_up(part, unit) * unit;
}

static task_grid cut(const dn_gemm_args *args, const dn_gemm_kernel *kernel)
{
    int32_t rows = BLOCK_ROWS, columns = BLOCK_COLUMNS;
    const int64_t wanted = args->threads > 1 ? (int64_t)TASKS_A_THREAD * args->threads : 1;
    while ((int64_t)dn_divide_up(args->m, rows) * dn_divide_up(args->n, columns) < wanted) {
        if (columns > SMALL_COLUMNS && args->n > SMALL_COLUMNS && columns >= rows) {
            columns /= 2;
        } else if (rows > SMALL_ROWS && args->m > SMALL_ROWS) {
            rows /= 2;
        } else if (columns > SMALL_COLUMNS && args->n > SMALL_COLUMNS) {
            columns /= 2;
        } else {
            break;
        }
    }
    rows = dn_least(BLOCK_ROWS, even_step(args->m, rows, kernel->rows));
    columns = dn_least(BLOCK_COLUMNS, even_step(args->n, columns, kernel->columns));
    return (task_grid){rows, columns, dn_divide_up(args->m, rows), dn_divide_up(args->n, columns)};
}

/* Floats of one thread's packed blocks, in whole cache lines. */
static int64_t floats_of_a(const dn_gemm_args *args)
{
    return (int64_t)dn_least(args->m, BLOCK_ROWS) * dn_least(args->k, BLOCK_K);
}

static int64_t floats_a_thread(const dn_gemm_args *args)
{
    const int32_t columns = dn_least(args->n, BLOCK_COLUMNS) + DN_TILE_MAX_COLUMNS;
    const int64_t b = (int64_t)columns * dn_least(args->k, BLOCK_K);
    return (floats_of_a(args) + b + 31) / 16 * 16;
}

int64_t dn_gemm_workspace(const dn_gemm_args *args)
{
    return floats_a_thread(args) * args->threads;
}

/* Packs `rows` rows of op(A) from row i and step p on. */
static void pack_a(const dn_gemm_args *args, const dn_gemm_kernel *kernel, int32_t i, int32_t rows,
                   int32_t p, int32_t k, float *out)
{
    const int32_t panels = dn_divide_up(rows, kernel->rows);
    for (int32_t panel = 0; panel < panels; ++panel) {
        const int32_t begin = dn_panel_begin(rows, panels, panel);
        const int32_t height = dn_panel_begin(rows, panels, panel + 1) - begin;
        const ptrdiff_t row = i + begin;
        float *to = out + (ptrdiff_t)begin * k;
        if (args->trans_a) {
            const float *from = args->a + (ptrdiff_t)p * args->lda + row;
            kernel->pack_copy(from, args->lda, k, height, height, to);
        } else {
            const float *from = args->a + row * args->lda + p;
            kernel->pack_transpose(from, args->lda, k, height, height, to);
        }
    }
}

/* Packs `columns` columns of op(B) from column j and step p on. */
static void pack_b(const dn_gemm_args *args, const dn_gemm_kernel *kernel, int32_t j,
                   int32_t columns, int32_t p, int32_t k, float *out)
{
    for (int32_t begin = 0; begin < columns; begin += kernel->columns) {
        const int32_t width = dn_least(kernel->columns, columns - begin);
        const int32_t pitch = dn_divide_up(width, kernel->lanes) * kernel->lanes;
        const ptrdiff_t column = j + begin;
        float *to = out + (ptrdiff_t)begin * k;
        if (args->trans_b) {
            const float *from = args->b + column * args->ldb + p;
            kernel->pack_transpose(from, args->ldb, k, width, pitch, to);
        } else {
            const float *from = args->b + (ptrdiff_t)p * args->ldb + column;
            kernel->pack_copy(from, args->ldb, k, width, pitch, to);
        }
    }
}

void dn_gemm_run_block(const dn_gemm_kernel *kernel, const dn_gemm_tile *block, int32_t panel_rows,
                       int32_t panels, int32_t first, int32_t last)
{
    dn_gemm_tile tile = *block;
    for (int32_t panel = first; panel < last; ++panel) {
        const int32_t begin = dn_panel_begin(panel_rows, panels, panel);
        tile.rows = dn_panel_begin(panel_rows, panels, panel + 1) - begin;
        tile.a = block->a + (ptrdiff_t)begin * block->k;
        if (block->shift) tile.shift = block->shift + begin;
        if (block->scale) tile.scale = block->scale + begin;
        tile.ahead_step = dn_divide_up(tile.rows, dn_divide_up(block->columns, kernel->columns));
        tile.ahead = tile.a + (ptrdiff_t)tile.rows * block->k;
        for (int32_t j = 0; j < block->columns; j += kernel->columns) {
            tile.columns = dn_least(kernel->columns, block->columns - j);
            tile.b = block->b + (ptrdiff_t)j * block->k;
            tile.c = block->c + begin * block->ldc + j;
            kernel->tile(&tile);
            tile.ahead += (ptrdiff_t)tile.ahead_step * block->k;
        }
    }
}

/* Rows i.. and columns j.. of C, over all of k. */
static void run_task(const dn_gemm_args *args, const dn_gemm_kernel *kernel, const task_grid *grid,
                     int32_t task, float *workspace)
{
    const int32_t i = task / grid->column_tasks * grid->rows;
    const int32_t j = task % grid->column_tasks * grid->columns;
    const int32_t rows = dn_least(grid->rows, args->m - i);
    const int32_t columns = dn_least(grid->columns, args->n - j);
    const int32_t panels = dn_divide_up(rows, kernel->rows);
    float *a = workspace, *b = workspace + floats_of_a(args);
    int32_t p = 0;
    do {
        const int32_t k = dn_least(BLOCK_K, args->k - p);
        pack_a(args, kernel, i, rows, p, k, a);
        pack_b(args, kernel, j, columns, p, k, b);
        const dn_gemm_tile block = {
            .columns = columns,
            .k = k,
            .a = a,
            .b = b,
            .alpha = args->alpha,
            .beta = p == 0 ? args->beta : 1.0f,
            .c = args->c + (ptrdiff_t)i * args->ldc + j,
            .ldc = args->ldc,
        };
        dn_gemm_run_block(kernel, &block, rows, panels, 0, panels);
        p += k;
    } while (p < args->k);
}

void dn_gemm(const dn_gemm_args *args)
{
    if (args->m == 0 || args->n == 0) return;
    const dn_gemm_kernel *kernel = dn_gemm_kernel_in_use();
    const task_grid grid = cut(args, kernel);
    const int32_t tasks = grid.row_tasks * grid.column_tasks;
    const int64_t floats = floats_a_thread(args);
#pragma omp parallel for num_threads(args->threads) schedule(dynamic)
    for (int32_t task = 0; task < tasks; ++task) {
        run_task(args, kernel, &grid, task, args->workspace + floats * dn_thread_number());
    }
}
