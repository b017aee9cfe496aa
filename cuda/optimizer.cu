/* The optimizer's arithmetic on CUDA; its bodies: math/optimizer.h.
 *
 * A sum of squares is made in three steps of fixed shape: DN_LANES lanes each sum every
 * DN_LANES-th value, DN_COLUMNS columns each sum every DN_COLUMNS-th lane, the host sums the
 * columns, each in order. What runs at the same time changes no bit of it.
 */
#include "optimizer.h"

#include "launch.h"

enum { DN_LANES = 1 << 16, DN_COLUMNS = 1 << 8 };

static_assert((DN_LANES + DN_COLUMNS) * sizeof(double) <= DN_SUM_SCRATCH, "the scratch holds both");

static __global__ void sgd(dn_update update)
{
    DN_GRID_STRIDE(i, update.count) dn_update_sgd(&update, i);
}

static __global__ void adam(dn_update update)
{
    DN_GRID_STRIDE(i, update.count) dn_update_adam(&update, i);
}

static __global__ void average(dn_update update)
{
    DN_GRID_STRIDE(i, update.count) dn_update_average(&update, i);
}

static __global__ void exchange(dn_update update)
{
    DN_GRID_STRIDE(i, update.count) dn_update_exchange(&update, i);
}

dn_status dn_cuda_update(const dn_update *update, int32_t)
{
    switch (update->kind) {
    case DN_UPDATE_SGD:
        DN_LAUNCH(sgd, update->count, *update);
        break;
    case DN_UPDATE_ADAM:
        DN_LAUNCH(adam, update->count, *update);
        break;
    case DN_UPDATE_AVERAGE:
        DN_LAUNCH(average, update->count, *update);
        break;
    case DN_UPDATE_EXCHANGE:
        DN_LAUNCH(exchange, update->count, *update);
        break;
    }
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* lanes (DN_LANES) */
static __global__ void sum_squares(const float *values, int64_t count, double *lanes)
{
    DN_GRID_STRIDE(lane, DN_LANES) {
        double sum = 0.0;
        for (int64_t i = lane; i < count; i += DN_LANES)
            sum += (double)values[i] * (double)values[i];
        lanes[lane] = sum;
    }
}

/* columns (DN_COLUMNS) of lanes (DN_LANES) */
static __global__ void sum_lanes(const double *lanes, double *columns)
{
    DN_GRID_STRIDE(column, DN_COLUMNS) {
        double sum = 0.0;
        for (int64_t i = column; i < DN_LANES; i += DN_COLUMNS) sum += lanes[i];
        columns[column] = sum;
    }
}

dn_status dn_cuda_square_sum(const float *values, int64_t count, int32_t, void *scratch,
                             double *sum)
{
    double *lanes = (double *)scratch, *columns = lanes + DN_LANES, found[DN_COLUMNS];
    DN_LAUNCH(sum_squares, DN_LANES, values, count, lanes);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(sum_lanes, DN_COLUMNS, lanes, columns);
    DN_CUDA_TRY(cudaGetLastError());
    DN_CUDA_TRY(cudaMemcpy(found, columns, sizeof found, cudaMemcpyDeviceToHost));
    *sum = 0.0;
    for (int32_t i = 0; i < DN_COLUMNS; i++) *sum += found[i];
    return DN_OK;
}
