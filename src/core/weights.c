/* Darknet's .weights files, read and written byte for byte (docs/formats.md).
 *
 * A file is a header (three int32 version words; `seen` as uint64 from version 0.2, else uint32)
 * and float32 arrays in layer order, each layer's parameters in the order in which it declares
 * them. There is no other structure, so the only test of fit is where a file ends: at a layer
 * boundary, or not. Little-endian hosts only (checked).
 */
#define _DEFAULT_SOURCE /* fileno */
#include "core/host.h"
#include "core/memory.h"
#include "core/new_file.h"
#include "core/params.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct dn_weights_reader {
    const char *path;
    FILE *file;
    int64_t floats_left;
    int32_t version[3];
    uint64_t seen;
    bool transpose; /* very old files hold fully connected weights by column */
    float *staging; /* see open_staging */
} dn_weights_reader;

static dn_status too_short(const dn_weights_reader *reader)
{
    if (ferror(reader->file))
        return dn_fail(DN_ERROR_IO, "%s: cannot read: %s", reader->path, strerror(errno));
    return dn_fail(DN_ERROR_WEIGHTS, "%s: too short for a weights file's header", reader->path);
}

static dn_status open_reader(const char *path, dn_weights_reader *reader)
{
    const uint32_t one = 1;
    if (*(const unsigned char *)&one != 1)
        return dn_fail(DN_ERROR_DEVICE, "weights files need a little-endian machine");
    *reader = (dn_weights_reader){.path = path, .file = fopen(path, "rb")};
    if (!reader->file) return dn_fail(DN_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (fread(reader->version, 4, 3, reader->file) != 3) return too_short(reader);
    const int32_t major = reader->version[0], minor = reader->version[1];
    if (major < 0 || minor < 0 || major > 100000 || minor > 100000)
        return dn_fail(DN_ERROR_WEIGHTS, "%s: version %d.%d is not a weights file's", path, major,
                       minor);
    const size_t seen_size = major * 10 + minor >= 2 && major < 1000 && minor < 1000 ? 8 : 4;
    reader->transpose = major > 1000 || minor > 1000;
    if (fread(&reader->seen, seen_size, 1, reader->file) != 1) return too_short(reader);
    const long start = ftell(reader->file);
    if (start < 0 || fseek(reader->file, 0, SEEK_END) != 0)
        return dn_fail(DN_ERROR_IO, "%s: cannot seek: %s", path, strerror(errno));
    const long bytes = ftell(reader->file) - start;
    if (bytes % 4 != 0)
        return dn_fail(DN_ERROR_WEIGHTS, "%s: %ld bytes behind the header are no whole floats",
                       path, bytes);
    reader->floats_left = bytes / 4;
    return fseek(reader->file, start, SEEK_SET) == 0
               ? DN_OK
               : dn_fail(DN_ERROR_IO, "%s: cannot seek: %s", path, strerror(errno));
}

static bool is_stored(const dn_layer *layer, const dn_param *param)
{
    return !(layer->common.dontloadscales && (param->flags & DN_PARAM_NORM));
}

/* Rows of `param` that the file holds: all, or `numload` filters. */
static int64_t stored_floats(const dn_layer *layer, const dn_param *param)
{
    const int32_t rows = layer->common.numload;
    if (rows <= 0 || rows >= param->outputs) return param->count;
    return param->count / param->outputs * rows;
}

static int64_t layer_floats(const dn_layer *layer)
{
    int64_t floats = 0;
    for (int32_t k = 0; k < layer->param_count; k++)
        if (is_stored(layer, &layer->params[k])) floats += stored_floats(layer, &layer->params[k]);
    return floats;
}

/* Connected weights of a `transpose` file: (inputs, outputs) becomes (outputs, inputs). */
static dn_status transpose(const dn_param *param, float *values)
{
    const int64_t outputs = param->outputs, inputs = param->count / outputs;
    float *copy = dn_alloc((size_t)param->count * sizeof *copy);
    if (!copy) return DN_ERROR_MEMORY;
    memcpy(copy, values, (size_t)param->count * sizeof *copy);
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t i = 0; i < inputs; i++) values[o * inputs + i] = copy[i * outputs + o];
    dn_free(copy);
    return DN_OK;
}

/* Room for any parameter of a network whose own are not in host memory; NULL on the CPU. */
static dn_status open_staging(const dn_network *network, float **staging)
{
    int64_t most = 0;
    *staging = NULL;
    if (!network->host) return DN_OK;
    for (int32_t i = 0; i < network->layer_count; i++)
        for (int32_t k = 0; k < network->layers[i].param_count; k++)
            if (network->layers[i].params[k].count > most)
                most = network->layers[i].params[k].count;
    *staging = dn_alloc((size_t)most * sizeof **staging);
    return *staging ? DN_OK : DN_ERROR_MEMORY;
}

static dn_status read_layer(dn_weights_reader *reader, const dn_backend *backend, dn_layer *layer)
{
    for (int32_t k = 0; k < layer->param_count; k++) {
        dn_param *param = &layer->params[k];
        if (!is_stored(layer, param)) continue;
        const size_t count = (size_t)stored_floats(layer, param);
        float *values = reader->staging ? reader->staging : param->data;
        if (fread(values, 4, count, reader->file) != count)
            return dn_fail(DN_ERROR_IO, "%s: cannot read: %s", reader->path, strerror(errno));
        if (reader->transpose && strcmp(layer->type->name, "connected") == 0 &&
            strcmp(param->name, "weights") == 0)
            DN_TRY(transpose(param, values));
        if (reader->staging) DN_TRY(backend->copy_in(param->data, values, count * sizeof *values));
    }
    reader->floats_left -= layer_floats(layer);
    return DN_OK;
}

typedef struct dn_weights_cursor {
    int32_t layer; /* the next to be read */
    int32_t loaded;
    int64_t floats; /* that the files hold */
    bool left;      /* in the file: see leave */
} dn_weights_cursor;

static int32_t layers_with_params(const dn_network *network)
{
    int32_t count = 0;
    for (int32_t i = 0; i < network->layer_count; i++)
        if (layer_floats(&network->layers[i]) > 0) count++;
    return count;
}

/* Checks, before anything is overwritten, that the file ends at a layer boundary at or before the
 * network's end; *stop = the layer behind the last one it holds. */
static dn_status check_fit(const dn_network *network, const dn_weights_reader *reader,
                           int32_t first, int32_t *stop)
{
    int64_t left = reader->floats_left;
    int32_t i = first;
    for (; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        const int64_t floats = layer->common.dontload ? 0 : layer_floats(layer);
        if (floats > 0 && left == 0) break;
        if (floats > left)
            return dn_fail(
                DN_ERROR_WEIGHTS,
                "%s: ends inside layer %d [%s] of %s: %lld of its %lld floats are there; "
                "the file is cut or belongs to another cfg",
                reader->path, i, layer->type->name, network->cfg->name, (long long)left,
                (long long)floats);
        left -= floats;
    }
    if (left > 0)
        return dn_fail(
            DN_ERROR_WEIGHTS,
            "%s: holds %lld floats more than layers %d..%d of %s take: cfg and weights do "
            "not belong together",
            reader->path, (long long)left, first, network->layer_count - 1, network->cfg->name);
    *stop = i;
    return DN_OK;
}

/* All files of a list are checked before the first one is read: what does not fit changes nothing.
 */
typedef enum dn_weights_phase { DN_WEIGHTS_CHECK, DN_WEIGHTS_READ } dn_weights_phase;

/* Leaves large parameters in a file that holds all there are, where the network allows it. */
static dn_status leave(dn_network *network, const dn_weights_reader *reader, bool *left)
{
    const long start = ftell(reader->file);
    if (reader->transpose || start < 0 || reader->floats_left != network->param_floats)
        return DN_OK;
    return dn_params_stay_in_file(network, reader->path, fileno(reader->file), start, left);
}

static dn_status visit_file(dn_network *network, const char *path, dn_weights_phase phase,
                            dn_weights_cursor *cursor)
{
    dn_weights_reader reader = {0};
    const bool first_file = cursor->layer == 0;
    int32_t stop = 0;
    dn_status status = open_reader(path, &reader);
    if (status == DN_OK) status = check_fit(network, &reader, cursor->layer, &stop);
    cursor->floats += reader.floats_left;
    if (status == DN_OK && phase == DN_WEIGHTS_READ)
        status = leave(network, &reader, &cursor->left);
    if (status == DN_OK && phase == DN_WEIGHTS_READ)
        status = open_staging(network, &reader.staging);
    for (int32_t i = cursor->layer; status == DN_OK && i < stop; i++) {
        dn_layer *layer = &network->layers[i];
        if (layer->common.dontload || layer_floats(layer) == 0) continue;
        if (phase == DN_WEIGHTS_READ && !cursor->left)
            status = read_layer(&reader, network->backend, layer);
        cursor->loaded++;
    }
    if (reader.file) fclose(reader.file);
    dn_free(reader.staging);
    if (status != DN_OK) return status;
    cursor->layer = stop;
    if (phase == DN_WEIGHTS_READ && first_file) {
        network->seen = reader.seen;
        if (!reader.transpose) memcpy(network->version, reader.version, sizeof reader.version);
    }
    return DN_OK;
}

static dn_status visit_list(dn_network *network, const char *paths, dn_weights_phase phase,
                            dn_weights_cursor *cursor)
{
    char *list = dn_strdup(paths);
    if (!list) return DN_ERROR_MEMORY;
    *cursor = (dn_weights_cursor){0};
    dn_status status = DN_OK;
    char *next = NULL;
    for (char *path = list; path && status == DN_OK; path = next) {
        next = strchr(path, ',');
        if (next) *next++ = '\0';
        status = *path ? visit_file(network, path, phase, cursor)
                       : dn_fail(DN_ERROR_ARGUMENT, "%s: a name in the list is empty", paths);
    }
    dn_free(list);
    return status;
}

dn_status dn_network_load_weights(dn_network *network, const char *paths, dn_weights_report *report)
{
    dn_weights_cursor cursor;
    const int32_t total = layers_with_params(network);
    DN_TRY(visit_list(network, paths, DN_WEIGHTS_CHECK, &cursor));
    if (strchr(paths, ',') && cursor.loaded < total)
        return dn_fail(
            DN_ERROR_WEIGHTS,
            "%s: the list ends before the network does: %d of the %d layers with weights "
            "of %s are there",
            paths, cursor.loaded, total, network->cfg->name);
    DN_TRY(dn_network_enter(network));
    const bool all = cursor.floats == network->param_floats;
    if (!all) DN_TRY(dn_params_here(network));
    dn_status status = visit_list(network, paths, DN_WEIGHTS_READ, &cursor);
    if (status == DN_OK && !cursor.left) dn_params_are_here(network);
    if (status == DN_OK) status = network->backend->synchronise();
    network->weights_version++;
    network->frozen_version++;
    if (status != DN_OK) return status;
    if (report) *report = (dn_weights_report){cursor.loaded, total, network->seen};
    return DN_OK;
}

static dn_status write_layer(const dn_network *network, const dn_layer *layer, float *staging,
                             dn_new_file *file)
{
    for (int32_t k = 0; k < layer->param_count; k++) {
        const dn_param *param = &layer->params[k];
        const size_t count = (size_t)param->count;
        if (staging)
            DN_TRY(network->backend->copy_out(staging, param->data, count * sizeof *staging));
        if (fwrite(staging ? staging : param->data, 4, count, file->stream) != count)
            return dn_new_file_fail(file);
    }
    return DN_OK;
}

static dn_status write_layers(const dn_network *network, float *staging, dn_new_file *file,
                              int32_t first, int32_t last)
{
    const size_t seen_size = network->version[0] * 10 + network->version[1] >= 2 ? 8 : 4;
    if (fwrite(network->version, 4, 3, file->stream) != 3 ||
        fwrite(&network->seen, seen_size, 1, file->stream) != 1)
        return dn_new_file_fail(file);
    for (int32_t i = first; i < last; i++)
        if (!network->layers[i].common.dontsave)
            DN_TRY(write_layer(network, &network->layers[i], staging, file));
    return DN_OK;
}

dn_status dn_network_save_weights(dn_network *network, const char *path, int32_t first,
                                  int32_t last)
{
    if (last < 0 || last > network->layer_count) last = network->layer_count;
    if (first < 0 || first > last)
        return dn_fail(DN_ERROR_ARGUMENT, "%s: layers %d..%d: the network has 0..%d", path, first,
                       last - 1, network->layer_count - 1);
    dn_new_file file;
    float *staging;
    DN_TRY(dn_network_enter(network));
    DN_TRY(dn_params_here(network));
    DN_TRY(open_staging(network, &staging));
    dn_status status = dn_new_file_open(&file, path, DN_FILE_SYNCED);
    if (status == DN_OK)
        status = dn_new_file_close(&file, write_layers(network, staging, &file, first, last));
    dn_free(staging);
    return status;
}
