/* cuda/bulk.h on the CPU. A copy is made when somebody waits for its barrier, not before, so that
 * who does not wait reads what was there. */
#ifndef DN_TESTS_HOST_BULK_H
#define DN_TESTS_HOST_BULK_H

#include "half_conv.h"

#include <warpgroup.h>

typedef struct dn_bulk_tensor {
    const char *data;
    int64_t sizes[4], strides[4]; /* in values; of filters the last is not used */
    int32_t channels, box;        /* pixels or filters */
    int32_t first, last[2], steps[2];
} dn_bulk_tensor;

struct dn_barrier {
    int16_t arrivals, left;
    int32_t bytes : 31;
    uint32_t phase : 1;
};
static_assert(sizeof(dn_barrier) == 8, "as the GPU's");

static inline void dn_barrier_make(dn_barrier *barrier, uint32_t arrivals)
{
    *barrier = {(int16_t)arrivals, (int16_t)arrivals, 0, 0};
}

static inline void dn_show_barriers() {}

static inline void dn_host_settle(dn_barrier *barrier)
{
    if (barrier->left != 0 || barrier->bytes != 0) return;
    barrier->left = barrier->arrivals;
    barrier->phase ^= 1;
    dn_host_running->moved = true;
}

static inline void dn_host_arrive(dn_barrier *barrier)
{
    if (--barrier->left < 0) std::abort();
    dn_host_settle(barrier);
}

static inline void dn_barrier_expect(dn_barrier *barrier, uint32_t bytes)
{
    barrier->bytes = barrier->bytes + (int32_t)bytes;
    dn_host_arrive(barrier);
}

static inline void dn_barrier_arrive(dn_barrier *barrier, uint32_t block)
{
    dn_host_arrive(dn_host_there(barrier, block));
}

static inline void dn_barrier_wait(dn_barrier *barrier, uint32_t parity)
{
    while (barrier->phase == parity) {
        std::vector<std::function<void()>> copies;
        copies.swap(dn_host_running->bulk[barrier]);
        for (const std::function<void()> &copy : copies) copy();
        if (barrier->phase == parity) dn_host_meet(DN_HOST_POLLS);
    }
}

/* ---- Copies ---- */

static inline void dn_expect_tensor(const dn_bulk_tensor *) {}

/* Row `row` of a box: its channels from c on at `from`, NULL where all are zeros. */
static inline void dn_host_row(const dn_bulk_tensor *t, char *to, int row, const char *from,
                               int32_t c)
{
    const int pieces = t->channels / 8;
    const int64_t channels = t->sizes[0];
    for (int piece = 0; piece < pieces; piece++) {
        const int order = row * t->channels / 64 & (pieces - 1);
        char *place = to + row * t->channels * 2 + (piece ^ order) * 16;
        for (int e = 0; e < 8; e++) {
            const int64_t channel = c + piece * 8 + e;
            if (from && channel < channels)
                std::memcpy(place + e * 2, from + channel * 2, 2);
            else
                std::memset(place + e * 2, 0, 2);
        }
    }
}

static inline void dn_host_pixels(const dn_bulk_tensor *t, char *to, const int32_t at[4], int right,
                                  int down)
{
    int64_t x = at[1], y = at[2], n = at[3];
    for (int row = 0; row < t->box; row++) {
        const int64_t px = x + right, py = y + down;
        const bool there =
            n < t->sizes[3] && px >= 0 && px < t->sizes[1] && py >= 0 && py < t->sizes[2];
        const int64_t offset = px * t->strides[1] + py * t->strides[2] + n * t->strides[3];
        dn_host_row(t, to, row, there ? t->data + offset * 2 : nullptr, at[0]);
        if ((x += t->steps[0]) < t->sizes[1] + t->last[0]) continue;
        x = t->first;
        if ((y += t->steps[1]) < t->sizes[2] + t->last[1]) continue;
        y = t->first;
        n++;
    }
}

static inline void dn_host_filters(const dn_bulk_tensor *t, char *to, const int32_t at[3])
{
    for (int row = 0; row < t->box; row++) {
        const bool there = at[1] < t->sizes[1] && at[2] + row < t->sizes[2];
        const int64_t offset = at[1] * t->strides[1] + (at[2] + row) * t->strides[2];
        dn_host_row(t, to, row, there ? t->data + offset * 2 : nullptr, at[0]);
    }
}

/* For each block of the mask `copy` of a box to its place, and its barrier told. */
template <class Copy>
static inline void dn_host_copy_box(const dn_bulk_tensor *tensor, void *to, dn_barrier *barrier,
                                    uint16_t blocks, const Copy &copy)
{
    if (reinterpret_cast<uintptr_t>(to) % 512 != 0) std::abort();
    for (unsigned block = 0; block < DN_HOST_BLOCKS; block++) {
        if (!(blocks >> block & 1)) continue;
        char *place = dn_host_there(static_cast<char *>(to), block);
        dn_barrier *of = dn_host_there(barrier, block);
        const int32_t bytes = tensor->box * tensor->channels * 2;
        dn_host_running->bulk[of].push_back([=] {
            copy(place);
            of->bytes = of->bytes - bytes;
            dn_host_settle(of);
        });
    }
}

static inline void dn_copy_pixels(const dn_bulk_tensor *tensor, void *to, dn_barrier *barrier,
                                  const int32_t (&at)[4], uint16_t right, uint16_t down,
                                  uint16_t blocks)
{
    const int32_t c = at[0], x = at[1], y = at[2], n = at[3];
    dn_host_copy_box(tensor, to, barrier, blocks, [=, of = *tensor](char *place) {
        const int32_t from[4] = {c, x, y, n};
        dn_host_pixels(&of, place, from, right, down);
    });
}

static inline void dn_copy_filters(const dn_bulk_tensor *tensor, void *to, dn_barrier *barrier,
                                   const int32_t (&at)[3], uint16_t blocks)
{
    const int32_t c = at[0], tap = at[1], filter = at[2];
    dn_host_copy_box(tensor, to, barrier, blocks, [=, of = *tensor](char *place) {
        const int32_t from[3] = {c, tap, filter};
        dn_host_filters(&of, place, from);
    });
}

/* ---- Tensors ---- */

static inline dn_status dn_tensor_of_pixels(const dn_half_conv *p, int channels, int pixels,
                                            dn_bulk_tensor *tensor)
{
    const int32_t last = p->pad - (p->size - 1) * p->dilation;
    *tensor = {static_cast<const char *>(p->in),
               {(int64_t)p->groups * p->c, p->w, p->h, p->images},
               {1, p->in_pixel, p->in_pixel * p->w, p->in_image},
               channels,
               pixels,
               -p->pad,
               {last, last},
               {p->stride_x, p->stride_y}};
    return DN_OK;
}

static inline dn_status dn_tensor_of_filters(const dn_half_conv *p, int channels, int filters,
                                             dn_bulk_tensor *tensor)
{
    *tensor = {static_cast<const char *>(p->weights),
               {p->c, p->size * p->size, p->groups * p->filters, 0},
               {1, p->c, p->k, 0},
               channels,
               filters,
               0,
               {0, 0},
               {1, 1}};
    return DN_OK;
}

#endif
