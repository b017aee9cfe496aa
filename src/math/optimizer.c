/* The optimizer's loops over host memory: see optimizer.h. */
#include "math/optimizer.h"

enum {
    DN_SUM_BLOCK = 1 << 14,   /* values summed by one thread */
    DN_SUM_BLOCKS = 1 << 8,   /* of which so many are summed at a time */
    DN_SHARED_FROM = 1 << 15, /* shorter loops are not worth waking threads */
};

static void sgd(dn_update u, int32_t threads)
{
#pragma omp parallel for simd firstprivate(u) num_threads(threads) if (u.count >= DN_SHARED_FROM)
    for (int64_t i = 0; i < u.count; i++) dn_update_sgd(&u, i);
}

static void adam(dn_update u, int32_t threads)
{
#pragma omp parallel for simd firstprivate(u) num_threads(threads) if (u.count >= DN_SHARED_FROM)
    for (int64_t i = 0; i < u.count; i++) dn_update_adam(&u, i);
}

static void average(dn_update u, int32_t threads)
{
#pragma omp parallel for simd firstprivate(u) num_threads(threads) if (u.count >= DN_SHARED_FROM)
    for (int64_t i = 0; i < u.count; i++) dn_update_average(&u, i);
}

static void exchange(dn_update u, int32_t threads)
{
#pragma omp parallel for simd firstprivate(u) num_threads(threads) if (u.count >= DN_SHARED_FROM)
    for (int64_t i = 0; i < u.count; i++) dn_update_exchange(&u, i);
}

void dn_update_run(const dn_update *update, int32_t threads)
{
    switch (update->kind) {
    case DN_UPDATE_SGD:
        sgd(*update, threads);
        break;
    case DN_UPDATE_ADAM:
        adam(*update, threads);
        break;
    case DN_UPDATE_AVERAGE:
        average(*update, threads);
        break;
    case DN_UPDATE_EXCHANGE:
        exchange(*update, threads);
        break;
    }
}

static double sum_block(const float *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

/* Block sums, which any thread may make, added in their order. */
double dn_square_sum(const float *values, int64_t count, int32_t threads)
{
    const int64_t blocks = (count + DN_SUM_BLOCK - 1) / DN_SUM_BLOCK;
    double sum = 0, sums[DN_SUM_BLOCKS];
    for (int64_t first = 0; first < blocks; first += DN_SUM_BLOCKS) {
        const int64_t left = blocks - first, here = left < DN_SUM_BLOCKS ? left : DN_SUM_BLOCKS;
#pragma omp parallel for num_threads(threads) if (here > 1)
        for (int64_t k = 0; k < here; k++) {
            const int64_t start = (first + k) * DN_SUM_BLOCK, rest = count - start;
            sums[k] = sum_block(values + start, rest < DN_SUM_BLOCK ? rest : (int64_t)DN_SUM_BLOCK);
        }
        for (int64_t k = 0; k < here; k++) sum += sums[k];
    }
    return sum;
}
