/* See parallel.h. Sums are reduced to process 0 and handed out from there: all get the same bits,
 * which MPI does not promise of its sums for all. Blocks go through host memory in pieces. */
#include "train/parallel.h"

#include "core/status.h"

static int32_t process_rank, process_size = 1, local_rank;

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

#ifdef DN_MPI
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { DN_MESSAGE_SIZE = 1024, DN_PIECE = 1 << 16 };

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

/* ---- the collective ---- */

static void broadcast(void *bytes, size_t size, int32_t from)
{
    MPI_Bcast(bytes, (int)size, MPI_BYTE, from, MPI_COMM_WORLD);
}

static void add_up(void *values, int32_t count, MPI_Datatype type)
{
    const bool first = process_rank == 0;
    MPI_Reduce(first ? MPI_IN_PLACE : values, first ? values : NULL, count, type, MPI_SUM, 0,
               MPI_COMM_WORLD);
    MPI_Bcast(values, count, type, 0, MPI_COMM_WORLD);
}

/* The failure of the first process that has one. */
static dn_status agree(dn_collective *peers, dn_status status)
{
    int32_t first = status == DN_OK ? peers->size : peers->rank;
    MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT32_T, MPI_MIN, MPI_COMM_WORLD);
    if (first == peers->size) return DN_OK;
    struct {
        dn_status status;
        char message[DN_MESSAGE_SIZE];
    } failure = {.status = status};
    snprintf(failure.message, sizeof failure.message, "%s", dn_error_message());
    broadcast(&failure, sizeof failure, first);
    if (first == peers->rank) return status;
    if (failure.status == DN_ERROR_CANCELLED) return dn_fail(failure.status, "cancelled");
    return dn_fail(failure.status, "process %d of %d: %s", first + 1, peers->size, failure.message);
}

static void share(dn_collective *peers, void *bytes, size_t size)
{
    (void)peers;
    broadcast(bytes, size, 0);
}

static void sum(dn_collective *peers, double *values, int32_t count)
{
    (void)peers;
    add_up(values, count, MPI_DOUBLE);
}

typedef enum dn_exchange { DN_EXCHANGE_SHARE, DN_EXCHANGE_SUM } dn_exchange;

/* Goes on with the next piece behind a failure: the other processes wait for it. */
static dn_status exchange(const dn_backend *backend, float *block, int64_t count, dn_exchange what,
                          float factor)
{
    static float piece[DN_PIECE];
    dn_status status = DN_OK;
    for (int64_t at = 0; at < count; at += DN_PIECE) {
        const int32_t floats = (int32_t)(count - at < DN_PIECE ? count - at : DN_PIECE);
        const size_t bytes = (size_t)floats * sizeof *piece;
        if (status == DN_OK) status = backend->copy_out(piece, block + at, bytes);
        if (what == DN_EXCHANGE_SHARE)
            broadcast(piece, bytes, 0);
        else
            add_up(piece, floats, MPI_FLOAT);
        for (int32_t i = 0; i < floats; i++) piece[i] *= factor;
        if (status == DN_OK) status = backend->copy_in(block + at, piece, bytes);
    }
    return status;
}

static dn_status share_block(dn_collective *peers, const dn_backend *backend, float *block,
                             int64_t count)
{
    (void)peers;
    return exchange(backend, block, count, DN_EXCHANGE_SHARE, 1.0f);
}

static dn_status sum_block(dn_collective *peers, const dn_backend *backend, float *block,
                           int64_t count, bool mean)
{
    return exchange(backend, block, count, DN_EXCHANGE_SUM,
                    mean ? 1.0f / (float)peers->size : 1.0f);
}

dn_collective dn_parallel_peers(void)
{
    static const dn_collective_way way = {"processes", agree, share, sum, share_block, sum_block};
    return (dn_collective){.way = &way, .rank = process_rank, .size = process_size};
}
#else
dn_status dn_parallel_start(void)
{
    return DN_OK;
}

void dn_parallel_stop(void) {}

dn_collective dn_parallel_peers(void)
{
    return dn_collective_alone();
}
#endif
