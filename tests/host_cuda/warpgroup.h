/* cuda/warpgroup.h on the CPU: a warpgroup is four threads, each of which has a warp's 16 rows of
 * the sums. Products are made when their thread waits for them, not before, so that who writes a
 * stage too early or reads sums too early gets others.
 */
#ifndef DN_TESTS_HOST_WARPGROUP_H
#define DN_TESTS_HOST_WARPGROUP_H

#include "half.h"

/* Sums in the order of pieces of 16 rows x 8 columns, each row after row. */
typedef struct dn_factor {
    const char *at;
} dn_factor;

static inline int dn_warp_number()
{
    return (int)threadIdx.x;
}

static inline uint32_t dn_shared_address(const void *at)
{
    return (uint32_t)reinterpret_cast<uintptr_t>(at);
}

static inline dn_factor dn_factor_at(const void *rows)
{
    if (reinterpret_cast<uintptr_t>(rows) % 512 != 0) std::abort();
    return {static_cast<const char *>(rows)};
}

static inline dn_factor dn_factor_behind(dn_factor factor, uint32_t bytes)
{
    return {factor.at + bytes};
}

/* Value k of a row. */
template <class T, int VALUES> static inline float dn_host_factor(dn_factor factor, int row, int k)
{
    const char *line = factor.at + row * VALUES * 2;
    const size_t piece =
        (size_t)(k / 8) ^ (reinterpret_cast<uintptr_t>(line) / 128 & (VALUES / 8 - 1));
    T value;
    std::memcpy(&value, line + piece * 16 + k % 8 * 2, sizeof value);
    return dn_wide(value);
}

static inline std::vector<std::vector<std::function<void()>>> &dn_host_products()
{
    return dn_host_running->products[dn_host_running->current];
}

/* A column whose values are zeros, as those beyond the filters are, adds nothing. */
template <class T, int VALUES, int SUMS>
static inline void dn_host_multiply(float (&sums)[SUMS], dn_factor a, dn_factor b, int first_row)
{
    float rows[16][VALUES], column[VALUES];
    for (int r = 0; r < 16; r++)
        for (int k = 0; k < VALUES; k++)
            rows[r][k] = dn_host_factor<T, VALUES>(a, first_row + r, k);
    for (int c = 0; c < SUMS / 16; c++) {
        bool any = false;
        for (int k = 0; k < VALUES; k++) {
            column[k] = dn_host_factor<T, VALUES>(b, c, k);
            any = any || column[k] != 0.0f;
        }
        for (int r = 0; r < 16 && any; r++) {
            float sum = 0.0f;
            for (int k = 0; k < VALUES; k++) sum += rows[r][k] * column[k];
            sums[c / 8 * 128 + r * 8 + c % 8] += sum;
        }
    }
}

template <class T, int VALUES, int SUMS>
static inline void dn_multiply_rows(float (&sums)[SUMS], dn_factor a, dn_factor b)
{
    const int first_row = (int)threadIdx.x % 4 * 16;
    float (*at)[SUMS] = &sums;
    dn_host_products().push_back(
        {[at, a, b, first_row] { dn_host_multiply<T, VALUES>(*at, a, b, first_row); }});
}

template <int LEFT> static inline void dn_wait_for_products()
{
    std::vector<std::vector<std::function<void()>>> &groups = dn_host_products();
    while (groups.size() > LEFT) {
        for (const std::function<void()> &product : groups.front()) product();
        groups.erase(groups.begin());
    }
}

template <int SUMS> static inline void dn_wait_for_sums(float (&)[SUMS])
{
    dn_wait_for_products<0>();
}

template <int COLUMNS, int SUMS>
static inline void dn_write_sums(const float (&sums)[SUMS], float *to, int line)
{
    for (int c = 0; c < COLUMNS; c++)
        for (int r = 0; r < 16; r++) to[r * line + c] = sums[c / 8 * 128 + r * 8 + c % 8];
}

/* ---- Clusters of blocks ---- */

static inline void dn_meet_cluster()
{
    dn_host_meet(DN_HOST_CLUSTER);
}

static inline void dn_leave_cluster()
{
    dn_meet_cluster();
}

static inline const float *dn_of_block(const float *own, uint32_t block)
{
    return dn_host_there(own, block);
}

/* Where this block is in its cluster, whose size is that of the launch. */
static inline dim3 dn_cluster_place()
{
    const dn_host_dim first = dn_host_running->first;
    return dim3(blockIdx.x - first.x, blockIdx.y - first.y, blockIdx.z - first.z);
}

static inline dim3 dn_cluster_size()
{
    const dn_host_dim size = dn_host_running->cluster;
    return dim3(size.x, size.y, size.z);
}

#endif
