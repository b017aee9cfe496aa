/* The parameters: memory, initial values, and values that stay in a weights file. See params.h. */
#define _DEFAULT_SOURCE /* pread, fstat's nanoseconds */
#include "core/params.h"

#include "core/host.h"
#include "core/memory.h"
#include "math/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DN_STAYS = 1 << 16, /* floats of a parameter, at least, that stays in its file */
    DN_PIECE = 1 << 20  /* bytes that one call reads */
};

struct dn_param_file {
    char *path;
    int file;
    int64_t start; /* of the first float, in bytes */
    struct stat stat;
};

/* values: (param->count), in host memory. */
static void init_values(const dn_network *network, const dn_layer *layer, int32_t k, float *values)
{
    const dn_param *param = &layer->params[k];
    dn_rng rng =
        dn_rng_make(network->options.seed, (uint64_t)layer->index, (uint64_t)k, DN_RNG_INIT);
    for (int64_t i = 0; i < param->count; i++) {
        switch (param->init) {
        case DN_INIT_CONSTANT:
            values[i] = param->init_value;
            break;
        case DN_INIT_UNIFORM:
            values[i] = dn_rng_uniform(&rng, -param->init_value, param->init_value);
            break;
        case DN_INIT_NORMAL:
            values[i] = param->init_value * dn_rng_normal(&rng);
            break;
        }
    }
}

static dn_status init_params(dn_network *network)
{
    for (int32_t i = 0; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            const dn_param *param = &layer->params[k];
            const size_t bytes = (size_t)param->count * sizeof(float);
            float *values = network->host ? dn_alloc(bytes) : param->data;
            if (!values) return DN_ERROR_MEMORY;
            init_values(network, layer, k, values);
            if (!network->host) continue;
            const dn_status status = network->backend->copy_in(param->data, values, bytes);
            dn_free(values);
            DN_TRY(status);
        }
    }
    return DN_OK;
}

static dn_status alloc_floats(const dn_network *network, int64_t floats, float **out)
{
    void *block;
    DN_TRY(network->backend->alloc((size_t)floats * sizeof **out, &block));
    *out = block;
    return DN_OK;
}

/* One block for all parameters in .weights order, one for the gradients of those that train. */
dn_status dn_params_place(dn_network *network)
{
    int64_t total = 0, frozen = 0;
    for (int32_t i = 0; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) total += layer->params[k].count;
        if (i < network->may_train_from) frozen = total;
    }
    network->params_due = !network->host && dn_network_fuses(network);
    if (network->params_due)
        network->params = dn_alloc_sparse((size_t)total * sizeof *network->params);
    else
        DN_TRY(alloc_floats(network, total, &network->params));
    if (!network->params) return DN_ERROR_MEMORY;
    DN_TRY(alloc_floats(network, total - frozen, &network->param_grads));
    network->param_floats = total;
    network->param_grad_start = frozen;
    int64_t offset = 0;
    for (int32_t i = 0; i < network->layer_count; i++) {
        dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            dn_param *param = &layer->params[k];
            param->data = network->params + offset;
            param->grad = layer->trains && !(param->flags & DN_PARAM_STATISTIC)
                              ? network->param_grads + (offset - frozen)
                              : NULL;
            offset += param->count;
        }
    }
    return network->params_due ? DN_OK : init_params(network);
}

/* ---- values in a file ---- */

static bool stays(const dn_param *param)
{
    return param->count >= DN_STAYS;
}

static void close_file(dn_param_file *from)
{
    if (from->file >= 0) close(from->file);
    dn_free(from->path);
    dn_free(from);
}

/* Whether the file is as it was when the network took it. */
static dn_status check_file(const dn_param_file *from)
{
    struct stat now;
    if (fstat(from->file, &now) != 0)
        return dn_fail(DN_ERROR_IO, "%s: cannot look at it: %s", from->path, strerror(errno));
    if (now.st_size == from->stat.st_size && now.st_mtim.tv_sec == from->stat.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == from->stat.st_mtim.tv_nsec)
        return DN_OK;
    return dn_fail(DN_ERROR_IO, "%s: has been written to since it was loaded: load it again",
                   from->path);
}

/* Reads `bytes` at `offset`, or says why not: errno, 0 where the file has ended. */
static bool read_piece(int file, char *to, int64_t bytes, int64_t offset, int *reason)
{
    while (bytes > 0) {
        const ssize_t got = pread(file, to, (size_t)bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            *reason = got < 0 ? errno : 0;
            return false;
        }
        to += got;
        bytes -= got;
        offset += got;
    }
    return true;
}

/* Copies from the system's cache by all threads. */
static dn_status read_floats(const dn_network *network, const dn_param *param, float *to)
{
    const dn_param_file *from = network->param_file;
    const int64_t bytes = param->count * (int64_t)sizeof *to;
    const int64_t offset = from->start + (param->data - network->params) * (int64_t)sizeof *to;
    const int32_t pieces = (int32_t)((bytes + DN_PIECE - 1) / DN_PIECE);
    atomic_int failed = -1;
#pragma omp parallel for num_threads(network->options.threads) schedule(dynamic) if (pieces > 1)
    for (int32_t i = 0; i < pieces; i++) {
        const int64_t begin = (int64_t)i * DN_PIECE, rest = bytes - begin;
        int reason;
        if (!read_piece(from->file, (char *)to + begin, rest < DN_PIECE ? rest : DN_PIECE,
                        offset + begin, &reason))
            atomic_store(&failed, reason);
    }
    if (atomic_load(&failed) < 0) return check_file(from);
    return dn_fail(DN_ERROR_IO, "%s: cannot read: %s", from->path,
                   atomic_load(&failed) ? strerror(atomic_load(&failed)) : "it has become shorter");
}

/* Reads all parameters, or those that do not stay, to their places. */
static dn_status read_params(dn_network *network, bool all)
{
    for (int32_t i = 0; i < network->layer_count; i++)
        for (int32_t k = 0; k < network->layers[i].param_count; k++) {
            const dn_param *param = &network->layers[i].params[k];
            if (all || !stays(param)) DN_TRY(read_floats(network, param, param->data));
        }
    return DN_OK;
}

dn_status dn_params_here(dn_network *network)
{
    if (network->param_file)
        DN_TRY(read_params(network, true));
    else if (network->params_due)
        DN_TRY(init_params(network));
    dn_params_are_here(network);
    return DN_OK;
}

void dn_params_are_here(dn_network *network)
{
    dn_params_forget_file(network);
    network->params_due = false;
}

dn_status dn_params_read(const dn_network *network, const dn_param *param, float *room,
                         const float **values)
{
    *values = param->data;
    if (!network->param_file || !stays(param)) return DN_OK;
    *values = room;
    return read_floats(network, param, room);
}

dn_status dn_params_stay_in_file(dn_network *network, const char *path, int file, int64_t start,
                                 bool *taken)
{
    *taken = network->params_due;
    if (!*taken) return DN_OK;
    dn_param_file *from = dn_alloc(sizeof *from);
    char *name = from ? dn_strdup(path) : NULL;
    if (!name) {
        dn_free(from);
        return DN_ERROR_MEMORY;
    }
    *from = (dn_param_file){.path = name, .start = start};
    from->file = fcntl(file, F_DUPFD_CLOEXEC, 0);
    *taken = from->file >= 0 && fstat(from->file, &from->stat) == 0;
    if (!*taken) {
        close_file(from);
        return DN_OK;
    }
    dn_params_forget_file(network);
    network->param_file = from;
    return read_params(network, false);
}

void dn_params_forget_file(dn_network *network)
{
    if (network->param_file) close_file(network->param_file);
    network->param_file = NULL;
}
