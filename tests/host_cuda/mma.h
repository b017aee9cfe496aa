/* As much of CUDA's fragments (nvcuda::wmma) as cuda/ uses, on the CPU: a warp is one thread, which
 * has a whole fragment of 16 x 16. Its elements' order is not CUDA's, which tells nobody its own.
 * The order of registers at the end is that of PTX's mma.m16n8k16. */
#ifndef DN_TESTS_HOST_MMA_H
#define DN_TESTS_HOST_MMA_H

#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace nvcuda
{
namespace wmma
{

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

/* Floats hold what the values of 16 bits are. a: (row, k); b: (k, column); sums: (row, column). */
template <class Use, int m, int n, int k, class T, class Layout = void> struct fragment {
    static_assert(m == 16 && n == 16 && k == 16, "the shape that cuda/ uses");
    static const int num_elements = 256;
    float x[256];
};

static inline float value_of(__half value)
{
    return __half2float(value);
}
static inline float value_of(__nv_bfloat16 value)
{
    return __bfloat162float(value);
}

static inline void check(const void *at, unsigned ldm, unsigned multiple)
{
    if (reinterpret_cast<uintptr_t>(at) % 32 != 0 || ldm % multiple != 0) std::abort();
}

template <class T>
static inline void load_matrix_sync(fragment<matrix_a, 16, 16, 16, T, row_major> &a, const T *from,
                                    unsigned ldm)
{
    check(from, ldm, 8);
    for (int i = 0; i < 256; i++) a.x[i] = value_of(from[(unsigned)(i / 16) * ldm + i % 16]);
}

template <class T>
static inline void load_matrix_sync(fragment<matrix_b, 16, 16, 16, T, col_major> &b, const T *from,
                                    unsigned ldm)
{
    check(from, ldm, 8);
    for (int i = 0; i < 256; i++)
        b.x[i % 16 * 16 + i / 16] = value_of(from[(unsigned)(i / 16) * ldm + i % 16]);
}

typedef fragment<accumulator, 16, 16, 16, float> sums_16;

static inline void load_matrix_sync(sums_16 &sums, const float *from, unsigned ldm, layout_t)
{
    check(from, ldm, 4);
    for (int i = 0; i < 256; i++) sums.x[i] = from[(unsigned)(i / 16) * ldm + i % 16];
}

static inline void store_matrix_sync(float *to, const sums_16 &sums, unsigned ldm, layout_t)
{
    check(to, ldm, 4);
    for (int i = 0; i < 256; i++) to[(unsigned)(i / 16) * ldm + i % 16] = sums.x[i];
}

static inline void fill_fragment(sums_16 &sums, float value)
{
    for (float &x : sums.x) x = value;
}

template <class T>
static inline void mma_sync(sums_16 &out, const fragment<matrix_a, 16, 16, 16, T, row_major> &a,
                            const fragment<matrix_b, 16, 16, 16, T, col_major> &b,
                            const sums_16 &in)
{
    for (int row = 0; row < 16; row++) {
        float line[16];
        for (int column = 0; column < 16; column++) line[column] = in.x[row * 16 + column];
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < 16; column++)
                line[column] += a.x[row * 16 + k] * b.x[k * 16 + column];
        for (int column = 0; column < 16; column++) out.x[row * 16 + column] = line[column];
    }
}

} // namespace wmma
} // namespace nvcuda

/* Products in registers (cuda/half_mma.h): the thread is all lanes of its warp. */
#define DN_LANES 32

static inline float dn_host_of_pair(__half, uint32_t pair, int k)
{
    return __half2float({(uint16_t)(pair >> 16 * k)});
}
static inline float dn_host_of_pair(__nv_bfloat16, uint32_t pair, int k)
{
    return __bfloat162float({(uint16_t)(pair >> 16 * k)});
}

template <class T>
static inline void dn_multiply_lanes(float sums[DN_LANES][4], const uint32_t a[DN_LANES][4],
                                     const uint32_t b[DN_LANES][2])
{
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++)
            for (int k = 0; k < 16; k++) {
                const int q = k % 8 / 2;
                const float left =
                    dn_host_of_pair(T(), a[row % 8 * 4 + q][k / 8 * 2 + row / 8], k % 2);
                sums[row % 8 * 4 + column / 2][row / 8 * 2 + column % 2] +=
                    left * dn_host_of_pair(T(), b[column * 4 + q][k / 8], k % 2);
            }
}

#endif
