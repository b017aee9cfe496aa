/* Masks on the device as COCO's strings of runs: the kernels. See paste.h.
 *
 * Method: down the image's columns, one behind the other, a mask is a chain of turns: pixels that
 * are not as the one before. A block takes a mask. Its threads take columns and count the turns of
 * each, piece by piece as data/mask_paste.c does where rounding may decide; a scan over the columns
 * and a sum over the masks before say where each turn has its place, and a second walk writes them.
 * Runs are differences of turns: their numbers' characters are counted and written in the same way.
 * Each block adds up for itself what it needs of the masks before: three kernels do it all.
 * The order is that of pixels and masks, whatever the GPU; nothing is added atomically.
 */
#include "paste.h"

#include "math/rle_text.h"

/* The sum of `value` over the block's threads before this one; *all: over all. All call it. */
static __device__ int64_t scan_block(int64_t value, int64_t *all)
{
    __shared__ int64_t sums[2][DN_BLOCK];
    const unsigned t = threadIdx.x;
    unsigned now = 0;
    __syncthreads(); /* the scan before may still be read */
    sums[0][t] = value;
    for (unsigned step = 1; step < blockDim.x; step *= 2) {
        __syncthreads();
        sums[1 - now][t] = sums[now][t] + (t >= step ? sums[now][t - step] : 0);
        now = 1 - now;
    }
    __syncthreads();
    *all = sums[now][blockDim.x - 1];
    return sums[now][t] - value;
}

/* The sum of the values before number k, and *all: of `count` of them; both to all threads of the
 * block, all of which call it. */
static __device__ int64_t sum_before(const int64_t *values, int64_t count, int64_t k, int64_t *all)
{
    int64_t before = 0, sum = 0, start;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        before += i < k ? values[i] : 0;
        sum += values[i];
    }
    scan_block(before, &start);
    scan_block(sum, all);
    return start;
}

/* ---- Turns ---- */

/* Calls turn(row) at every turn of an image column of mask k, from the top. */
template <typename Turn>
static __device__ void walk_column(const dn_paste_work &w, int64_t k, int32_t x, Turn turn)
{
    const dn_paste_view &v = w.view;
    const dn_paste_item &item = v.items[k];
    const int32_t *begins = w.begins + k * (v.side + 2);
    const float *mask = v.masks + k * v.side * v.side;
    const dn_paste_spot column = dn_paste_spot_of(item.across, x);
    bool inside = x > 0 && dn_paste_pixel(v, k, x - 1, item.height - 1);
    if (inside && (column.piece < 0 || begins[0] > 0)) {
        turn(0);
        inside = false;
    }
    if (column.piece < 0) return;
    dn_paste_piece piece = {item.down, 0, 0, begins[0], 0.0, 0.0, v.threshold};
    for (int32_t p = 0; p <= v.side; p++) {
        piece.index = p;
        piece.begin = piece.end;
        piece.end = begins[p + 1];
        piece.a = piece.b;
        piece.b = dn_paste_cell(mask, v.side, p, column);
        if (piece.begin == piece.end) continue;
        int32_t end = piece.end;
        bool set = dn_paste_surely_inside(piece.a, v.threshold) &&
                   dn_paste_surely_inside(piece.b, v.threshold);
        if (!set && !(dn_paste_surely_outside(piece.a, v.threshold) &&
                      dn_paste_surely_outside(piece.b, v.threshold))) {
            set = dn_paste_is_set(&piece, piece.begin);
            end = dn_paste_search_turn(&piece, set);
        }
        if (set != inside) turn(piece.begin);
        if (end < piece.end) turn(end);
        inside = end < piece.end ? !set : set;
    }
    if (inside && piece.end < item.height) turn(piece.end);
}

/* begins, and turns of the columns and of the masks. */
static __global__ void count_turns(dn_paste_work w)
{
    const int32_t pieces = w.view.side + 2;
    DN_BLOCK_STRIDE(k, w.view.count)
    {
        const dn_paste_item &item = w.view.items[k];
        int32_t *begins = w.begins + k * pieces;
        int64_t carry = 0;
        for (int32_t p = (int32_t)threadIdx.x; p < pieces && item.columns > 0;
             p += (int32_t)blockDim.x)
            begins[p] = dn_paste_first_pixel(item.down, 0, item.height, p - 1);
        __syncthreads();
        for (int32_t first = 0; first < item.columns; first += (int32_t)blockDim.x) {
            const int32_t column = first + (int32_t)threadIdx.x;
            int64_t turns = 0, all;
            if (column < item.columns)
                walk_column(w, k, item.first + column, [&turns](int32_t) { turns++; });
            const int64_t before = scan_block(turns, &all);
            if (column < item.columns) w.columns[item.start + column] = (uint32_t)(carry + before);
            carry += all;
        }
        if (threadIdx.x == 0) w.turn_counts[k] = carry;
    }
}

/* ---- Text ---- */

/* Run i of n + 1 as its number in the string. */
static __device__ int64_t number_of(const uint32_t *turns, int64_t n, uint32_t pixels, int64_t i)
{
    const int64_t end = i < n ? turns[i] : pixels, begin = i > 0 ? turns[i - 1] : 0;
    const int64_t run = end - begin;
    if (i < DN_DELTA_FROM) return run;
    return run - ((int64_t)turns[i - 2] - (int64_t)turns[i - 3]);
}

/* The characters of mask k, without its NUL, by the threads of a block; written where `text` is not
 * NULL. */
static __device__ int64_t spell(const dn_paste_work &w, int64_t k, char *text)
{
    const dn_paste_item &item = w.view.items[k];
    const uint32_t *turns = w.turns + w.turn_starts[k];
    const int64_t n = w.turn_counts[k];
    const uint32_t pixels = (uint32_t)item.height * (uint32_t)item.width;
    int64_t carry = 0;
    for (int64_t first = 0; first <= n; first += blockDim.x) {
        const int64_t i = first + threadIdx.x;
        const int64_t number = i <= n ? number_of(turns, n, pixels, i) : 0;
        int64_t all;
        const int64_t length = i <= n ? (int64_t)dn_rle_put_number(nullptr, number) : 0;
        const int64_t before = scan_block(length, &all);
        if (text && i <= n) dn_rle_put_number(text + carry + before, number);
        carry += all;
    }
    return carry;
}

static __global__ void write_turns(dn_paste_work w)
{
    DN_BLOCK_STRIDE(k, w.view.count)
    {
        const dn_paste_item &item = w.view.items[k];
        int64_t all;
        const int64_t start = sum_before(w.turn_counts, w.view.count, k, &all);
        if (threadIdx.x == 0) w.turn_starts[k] = start;
        if (threadIdx.x == 0 && k == 0) w.totals->turns = all;
        if (all > w.turn_room) continue;
        for (int32_t column = (int32_t)threadIdx.x; column < item.columns;
             column += (int32_t)blockDim.x) {
            uint32_t *turns = w.turns + start + w.columns[item.start + column];
            const uint32_t top = (uint32_t)(item.first + column) * (uint32_t)item.height;
            walk_column(w, k, item.first + column,
                        [&turns, top](int32_t row) { *turns++ = top + (uint32_t)row; });
        }
        __syncthreads(); /* all turns of the mask are there, and where they begin */
        const int64_t length = spell(w, k, nullptr);
        if (threadIdx.x == 0) w.text_counts[k] = length + 1;
    }
}

static __global__ void write_text(dn_paste_work w)
{
    if (w.totals->turns > w.turn_room) return;
    DN_BLOCK_STRIDE(k, w.view.count)
    {
        int64_t all;
        char *text = w.text + sum_before(w.text_counts, w.view.count, k, &all);
        if (threadIdx.x == 0 && k == 0) w.totals->text = all;
        if (all > w.text_room) continue;
        const int64_t length = spell(w, k, text);
        if (threadIdx.x == 0) text[length] = '\0';
    }
}

/* ---- Launches ---- */

dn_status dn_paste_write_runs(const dn_paste_work *work, cudaStream_t stream)
{
    const dn_paste_work &w = *work;
    const int64_t count = w.view.count;
    if (count == 0) {
        DN_CUDA_TRY(cudaMemsetAsync(w.totals, 0, sizeof *w.totals, stream));
        return DN_OK;
    }
    DN_LAUNCH_BLOCKS_ON(stream, count_turns, count, w);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH_BLOCKS_ON(stream, write_turns, count, w);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH_BLOCKS_ON(stream, write_text, count, w);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
