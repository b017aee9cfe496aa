/* See parallel.h. Sums are reduced to process 0 and handed out from there: all get the same bits,
 * which MPI does not promise of its sums for all. Blocks go through host memory in pieces. */
#include "train/parallel.h"

#include "core/status.h"

#include <stdio.h>
#include <string.h>

enum { DN_MESSAGE_SIZE = 1024, DN_PIECE = 1 << 16 };

static int32_t process_rank, process_size = 1, local_rank;
static bool stopped; /* a failure was agreed on */

/* ---- MPI, or nothing ---- */

#ifdef DN_MPI
#include <mpi.h>
#include <stdlib.h>

/* A program that nobody started beside others is alone; MPI would start a helper for it. */
static bool is_started_by_mpirun(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

dn_status dn_parallel_start(void)
{
    int provided, rank, size;
    if (!is_started_by_mpirun()) return DN_OK;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_FUNNELED)
        return dn_fail(DN_ERROR_DEVICE, "MPI does not start, or allows no threads beside it");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    process_rank = rank;
    process_size = size;
    MPI_Comm machine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &machine);
    MPI_Comm_rank(machine, &rank);
    MPI_Comm_free(&machine);
    local_rank = rank;
    return DN_OK;
}

void dn_parallel_stop(void)
{
    int started = 0;
    MPI_Initialized(&started);
    if (started) MPI_Finalize();
    process_rank = 0;
    process_size = 1;
}

static void broadcast(void *bytes, size_t size, int32_t from)
{
    MPI_Bcast(bytes, (int)size, MPI_BYTE, from, MPI_COMM_WORLD);
}

static int32_t least(int32_t value)
{
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT32_T, MPI_MIN, MPI_COMM_WORLD);
    return value;
}

static void add_up(void *values, int32_t count, MPI_Datatype type)
{
    const bool first = process_rank == 0;
    MPI_Reduce(first ? MPI_IN_PLACE : values, first ? values : NULL, count, type, MPI_SUM, 0,
               MPI_COMM_WORLD);
    MPI_Bcast(values, count, type, 0, MPI_COMM_WORLD);
}

static void add_floats(float *values, int32_t count)
{
    add_up(values, count, MPI_FLOAT);
}

static void add_doubles(double *values, int32_t count)
{
    add_up(values, count, MPI_DOUBLE);
}
#else
dn_status dn_parallel_start(void)
{
    return DN_OK;
}

void dn_parallel_stop(void) {}

static void broadcast(void *bytes, size_t size, int32_t from)
{
    (void)bytes;
    (void)size;
    (void)from;
}

static int32_t least(int32_t value)
{
    return value;
}

static void add_floats(float *values, int32_t count)
{
    (void)values;
    (void)count;
}

static void add_doubles(double *values, int32_t count)
{
    (void)values;
    (void)count;
}
#endif

/* ---- what trainings ask for ---- */

int32_t dn_parallel_rank(void)
{
    return process_rank;
}

int32_t dn_parallel_size(void)
{
    return process_size;
}

int32_t dn_parallel_local_rank(void)
{
    return local_rank;
}

dn_status dn_parallel_agree(dn_status status)
{
    if (process_size == 1 || stopped) return status;
    const int32_t first = least(status == DN_OK ? process_size : process_rank);
    if (first == process_size) return DN_OK;
    struct {
        dn_status status;
        char message[DN_MESSAGE_SIZE];
    } failure = {.status = status};
    snprintf(failure.message, sizeof failure.message, "%s", dn_error_message());
    broadcast(&failure, sizeof failure, first);
    stopped = true;
    if (first == process_rank) return status;
    if (failure.status == DN_ERROR_CANCELLED) return dn_fail(failure.status, "cancelled");
    return dn_fail(failure.status, "process %d of %d: %s", first + 1, process_size,
                   failure.message);
}

bool dn_parallel_any(bool value)
{
    return process_size == 1 ? value : least(value ? 0 : 1) == 0;
}

void dn_parallel_share(void *bytes, size_t size)
{
    if (process_size > 1) broadcast(bytes, size, 0);
}

void dn_parallel_sum(double *values, int32_t count)
{
    if (process_size > 1) add_doubles(values, count);
}

typedef enum dn_exchange { DN_EXCHANGE_SHARE, DN_EXCHANGE_SUM } dn_exchange;

/* Goes on with the next piece behind a failure: the other processes wait for it. */
static dn_status exchange(const dn_backend *backend, float *block, int64_t count, dn_exchange what,
                          float factor)
{
    static float piece[DN_PIECE];
    dn_status status = DN_OK;
    if (process_size == 1) return DN_OK;
    for (int64_t at = 0; at < count; at += DN_PIECE) {
        const int32_t floats = (int32_t)(count - at < DN_PIECE ? count - at : DN_PIECE);
        const size_t bytes = (size_t)floats * sizeof *piece;
        if (status == DN_OK) status = backend->copy_out(piece, block + at, bytes);
        if (what == DN_EXCHANGE_SHARE)
            broadcast(piece, bytes, 0);
        else
            add_floats(piece, floats);
        for (int32_t i = 0; i < floats; i++) piece[i] *= factor;
        if (status == DN_OK) status = backend->copy_in(block + at, piece, bytes);
    }
    return status;
}

dn_status dn_parallel_share_block(const dn_backend *backend, float *block, int64_t count)
{
    return exchange(backend, block, count, DN_EXCHANGE_SHARE, 1.0f);
}

dn_status dn_parallel_sum_block(const dn_backend *backend, float *block, int64_t count,
                                float factor)
{
    return exchange(backend, block, count, DN_EXCHANGE_SUM, factor);
}
