/* The machine's peak: fused multiply-adds on registers only, GFLOP/s for a number of threads.
 *
 *     cc -O3 -march=native -fopenmp bench/fma_peak.c -o fma_peak && ./fma_peak 2
 *
 * Twelve independent chains a thread hide the latency of today's processors; the printed figure is
 * the best of seven runs.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__AVX512F__)
typedef float vector __attribute__((vector_size(64)));
#elif defined(__AVX__)
typedef float vector __attribute__((vector_size(32)));
#else
typedef float vector __attribute__((vector_size(16)));
#endif

enum { CHAINS = 12, STEPS = 2000000, RUNS = 7 };

static float chains(void)
{
    vector x[CHAINS], scale, shift;
    for (int j = 0; j < (int)(sizeof scale / sizeof(float)); ++j) {
        scale[j] = 0.999f;
        shift[j] = 0.001f;
    }
    for (int i = 0; i < CHAINS; ++i) x[i] = shift * (float)i;
    for (int step = 0; step < STEPS; ++step) {
        for (int i = 0; i < CHAINS; ++i) x[i] = x[i] * scale + shift;
    }
    float sum = 0.0f;
    for (int i = 0; i < CHAINS; ++i) sum += x[i][0];
    return sum;
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
    const double flops = 2.0 * CHAINS * STEPS * (double)(sizeof(vector) / sizeof(float)) * threads;
    double best = 1e30;
    for (int run = 0; run < RUNS; ++run) {
        float sum = 0.0f;
        const double start = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        sum += chains();
        const double seconds = omp_get_wtime() - start;
        if (seconds < best && sum != 0.0f) best = seconds;
    }
    printf("%.1f\n", flops / best * 1e-9);
    return 0;
}
