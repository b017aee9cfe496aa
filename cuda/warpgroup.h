/* Products of a warpgroup, four warps, on Hopper's tensor cores, and blocks that work in clusters:
 * CUDA's own instructions for compute capability 9.0a (PTX ISA, "Asynchronous warpgroup level
 * matrix instructions", "Distributed shared memory"). tests/host_cuda has the same in plain loops.
 *
 * Both factors lie in shared memory as rows of VALUES values of 16 bits, 64 or 32, whose 16-byte
 * pieces are permuted: piece j of row r is at j ^ (r & 7), of the shorter rows at j ^ (r / 2 & 3).
 * Eight rows fill 1024 or 512 bytes, to a multiple of which a factor's first row is aligned. The
 * left factor has 64 rows, those of the sums; the right factor's rows are the columns of the sums,
 * COLUMNS of them. Of the sums warp w of the four has rows 16 w to 16 w + 15; DN_EIGHT_SUMS values
 * of eight columns for each of its threads.
 */
#ifndef DN_CUDA_WARPGROUP_H
#define DN_CUDA_WARPGROUP_H

#include "half.h"

#include <stdint.h>

/* The number of the thread's warp, of which the compiler knows that it is the warp's. */
static __device__ inline int dn_warp_number()
{
    return __shfl_sync(0xffffffffu, (int)threadIdx.x / DN_WARP, 0);
}

/* Sums of a thread in eight columns: of rows lane / 4 and lane / 4 + 8, columns 2 (lane % 4) and
 * the next. */
enum { DN_EIGHT_SUMS = 4 };

/* What the tensor cores are told of a factor, 64 bits. The lower half is its own: bits 0 to 13 the
 * address in units of 16 bytes, 16 to 29 not used in this order. The upper half is that of all:
 * from eight rows to the next eight, in the same units, and at bit 62 the permutation, 1 that of
 * 128 bytes, 2 that of 64. */
typedef uint32_t dn_factor;
template <int VALUES> static __device__ constexpr uint32_t dn_factor_order()
{
    return VALUES == 64 ? 1024 >> 4 | 1u << 30 : 512 >> 4 | 2u << 30;
}

/* Shared memory's address in words of the hardware; in a cluster's blocks high bits say which. */
static __device__ inline uint32_t dn_shared_address(const void *at)
{
    return (uint32_t)__cvta_generic_to_shared(at);
}

static __device__ inline dn_factor dn_factor_at(const void *rows)
{
    return (dn_shared_address(rows) & 0x3ffff) >> 4 | 1 << 16;
}

/* The factor that lies `bytes` further on. */
static __device__ inline dn_factor dn_factor_behind(dn_factor factor, uint32_t bytes)
{
    return factor + (bytes >> 4);
}

/* Before the products of a group, behind whatever else touched the sums. */
static __device__ inline void dn_begin_products()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ inline void dn_commit_products()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Waits for all groups but the last LEFT. */
template <int LEFT> static __device__ inline void dn_wait_for_products()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

/* Waits for all groups; the compiler is to read no sum before. */
template <int SUMS> static __device__ inline void dn_wait_for_sums(float (&sums)[SUMS])
{
    dn_wait_for_products<0>();
    DN_UNROLL
    for (int e = 0; e < SUMS; e++) asm volatile("" : "+f"(sums[e])::"memory");
}

/* ---- One product ---- */

/* The names of a thread's sums in an instruction, and the sums. */
#define DN_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define DN_NAMES_32                                                                                \
    DN_NAMES_16                                                                                    \
    ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define DN_NAMES_64                                                                                \
    DN_NAMES_32                                                                                    \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"             \
    ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define DN_NAMES_128                                                                               \
    DN_NAMES_64                                                                                    \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"             \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"             \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107"                         \
    ", %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119"                     \
    ", %120, %121, %122, %123, %124, %125, %126, %127"
#define DN_SUMS_4(s, i) "+f"((s)[i]), "+f"((s)[(i) + 1]), "+f"((s)[(i) + 2]), "+f"((s)[(i) + 3])
#define DN_SUMS_16(s, i)                                                                           \
    DN_SUMS_4(s, i), DN_SUMS_4(s, (i) + 4), DN_SUMS_4(s, (i) + 8), DN_SUMS_4(s, (i) + 12)
#define DN_SUMS_32(s, i)  DN_SUMS_16(s, i), DN_SUMS_16(s, (i) + 16)
#define DN_SUMS_64(s, i)  DN_SUMS_32(s, i), DN_SUMS_32(s, (i) + 32)
#define DN_SUMS_128(s, i) DN_SUMS_64(s, i), DN_SUMS_64(s, (i) + 64)

/* sums += a * b over 16 values; both factors begin at the first of them. COUNT sums of a thread,
 * and the names of the three operands behind them. */
#define DN_PRODUCT(columns, type, count, sums, a, b, order, at_a, at_b, at_order)                  \
    asm volatile("{\n.reg .pred p;\n.reg .b64 a, b;\nsetp.eq.b32 p, %" at_order ", %" at_order     \
                 ";\n"                                                                             \
                 "mov.b64 a, {%" at_a ", %" at_order "};\n"                                        \
                 "mov.b64 b, {%" at_b ", %" at_order "};\n"                                        \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type             \
                 " {" DN_NAMES_##count "}, a, b, p, 1, 1, 0, 0;\n}"                                \
                 : DN_SUMS_##count(sums, 0)                                                        \
                 : "r"(a), "r"(b), "r"(order))

#define DN_PRODUCTS(T, type)                                                                       \
    static __device__ inline void dn_product(float (&s)[16], dn_factor a, dn_factor b,             \
                                             uint32_t order, T)                                    \
    {                                                                                              \
        DN_PRODUCT(32, type, 16, s, a, b, order, "16", "17", "18");                                \
    }                                                                                              \
    static __device__ inline void dn_product(float (&s)[32], dn_factor a, dn_factor b,             \
                                             uint32_t order, T)                                    \
    {                                                                                              \
        DN_PRODUCT(64, type, 32, s, a, b, order, "32", "33", "34");                                \
    }                                                                                              \
    static __device__ inline void dn_product(float (&s)[64], dn_factor a, dn_factor b,             \
                                             uint32_t order, T)                                    \
    {                                                                                              \
        DN_PRODUCT(128, type, 64, s, a, b, order, "64", "65", "66");                               \
    }                                                                                              \
    static __device__ inline void dn_product(float (&s)[128], dn_factor a, dn_factor b,            \
                                             uint32_t order, T)                                    \
    {                                                                                              \
        DN_PRODUCT(256, type, 128, s, a, b, order, "128", "129", "130");                           \
    }

DN_PRODUCTS(__half, "f16")
DN_PRODUCTS(__nv_bfloat16, "bf16")

/* sums += the products of a row's values, in a group of its own. */
template <class T, int VALUES, int SUMS>
static __device__ inline void dn_multiply_rows(float (&sums)[SUMS], dn_factor a, dn_factor b)
{
    dn_begin_products();
    DN_UNROLL
    for (int k = 0; k < VALUES * 2; k += 32)
        dn_product(sums, dn_factor_behind(a, k), dn_factor_behind(b, k), dn_factor_order<VALUES>(),
                   T());
    dn_commit_products();
}

/* COLUMNS columns of the warp's sums, from `first` on, into rows of floats in shared memory. */
template <int COLUMNS, int SUMS>
static __device__ inline void dn_write_sums(const float (&sums)[SUMS], float *to, int line)
{
    const int lane = (int)threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;
    DN_UNROLL
    for (int j = 0; j < COLUMNS / 8; j++) {
        float *at = to + row * line + 8 * j + column;
        *(float2 *)(void *)at = make_float2(sums[4 * j], sums[4 * j + 1]);
        *(float2 *)(void *)(at + 8 * line) = make_float2(sums[4 * j + 2], sums[4 * j + 3]);
    }
}

/* ---- Clusters of blocks ---- */

/* All threads of the cluster meet; what they wrote before is seen behind it. */
static __device__ inline void dn_meet_cluster()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

/* The same where nobody has written what others read: it orders nothing. */
static __device__ inline void dn_leave_cluster()
{
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

/* The same place in the shared memory of another block of the cluster. */
static __device__ inline const float *dn_of_block(const float *own, uint32_t block)
{
    uint64_t at;
    asm("mapa.u64 %0, %1, %2;" : "=l"(at) : "l"(own), "r"(block));
    return (const float *)at;
}

/* Where this block is in its cluster, and the cluster's size. */
static __device__ inline dim3 dn_cluster_place()
{
    uint32_t x, y, z;
    asm("mov.u32 %0, %%cluster_ctaid.x;\nmov.u32 %1, %%cluster_ctaid.y;\n"
        "mov.u32 %2, %%cluster_ctaid.z;"
        : "=r"(x), "=r"(y), "=r"(z));
    return dim3(x, y, z);
}

static __device__ inline dim3 dn_cluster_size()
{
    uint32_t x, y, z;
    asm("mov.u32 %0, %%cluster_nctaid.x;\nmov.u32 %1, %%cluster_nctaid.y;\n"
        "mov.u32 %2, %%cluster_nctaid.z;"
        : "=r"(x), "=r"(y), "=r"(z));
    return dim3(x, y, z);
}

#endif
