/* The file of a training's state: see state.h. */
#include "train/state.h"

#include "core/memory.h"
#include "core/new_file.h"

#include <string.h>

enum {
    DN_ARRAY_NAME = 24,
    DN_STATE_ARRAYS = 8,
    DN_PART = 1 << 14, /* floats that are copied from the device at a time: whole words */
};

typedef struct dn_state_header {
    char magic[8];
    uint64_t bytes; /* of the whole file */
    uint64_t cfg_hash;
    dn_train_state state;
    int64_t array_count; /* so many dn_state_array follow, then their floats, then the checksum */
} dn_state_header;

typedef struct dn_state_array {
    char name[DN_ARRAY_NAME];
    int64_t count; /* floats */
} dn_state_array;

static const char magic[8] = "DNSTATE2";
static const size_t magic_stem = 7; /* without the version */

/* ---- hashes ---- */

/* FNV-1a over words of 64 bits, the last one filled up with zeros: a changed word changes it. */
static uint64_t hash(uint64_t value, const void *bytes, size_t count)
{
    const char *at = bytes;
    for (; count > 0; at += sizeof value) {
        const size_t part = count < sizeof value ? count : sizeof value;
        uint64_t word = 0;
        memcpy(&word, at, part);
        value = (value ^ word) * UINT64_C(0x100000001B3);
        value ^= value >> 29;
        count -= part;
    }
    return value;
}

static const uint64_t hash_start = UINT64_C(0xCBF29CE484222325);

/* A longer training goes on where a shorter one ended, and data may move. */
static bool is_free_to_change(const char *section, const char *key)
{
    static const char *const keys[] = {"max_batches", "mask_max_batches", "data", "patience"};
    if (strcmp(section, "net") != 0 && strcmp(section, "network") != 0) return false;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

/* Sections and keys count, comments and layout do not. */
static uint64_t hash_cfg(const dn_cfg *cfg)
{
    uint64_t value = hash_start;
    for (int32_t i = 0; i < cfg->section_count; i++) {
        const dn_cfg_section *section = &cfg->sections[i];
        value = hash(value, section->name, strlen(section->name) + 1);
        for (int32_t j = 0; j < section->entry_count; j++) {
            const dn_cfg_entry *entry = &section->entries[j];
            if (is_free_to_change(section->name, entry->key)) continue;
            value = hash(value, entry->key, strlen(entry->key) + 1);
            value = hash(value, entry->value, strlen(entry->value) + 1);
        }
    }
    return value;
}

/* ---- the arrays ---- */

/* The network's parameters, then what the optimizer has: blocks of the network's backend; the
 * number of arrays. */
static int32_t list_arrays(const dn_network *network, dn_optimizer *optimizer,
                           dn_optimizer_array arrays[DN_STATE_ARRAYS])
{
    int32_t count = 1;
    arrays[0] = (dn_optimizer_array){"parameters", network->param_floats, network->params};
    while (count < DN_STATE_ARRAYS && count <= dn_optimizer_array_count(optimizer) &&
           dn_optimizer_get_array(optimizer, count - 1, &arrays[count]) == DN_OK)
        count++;
    return count;
}

static dn_state_array entry_of(const dn_optimizer_array *array)
{
    dn_state_array entry;
    memset(&entry, 0, sizeof entry);
    strncpy(entry.name, array->name, sizeof entry.name - 1);
    entry.count = array->count;
    return entry;
}

/* ---- writing ---- */

typedef struct dn_state_writer {
    const dn_new_file *file;
    uint64_t sum;
} dn_state_writer;

static dn_status put(dn_state_writer *writer, const void *bytes, size_t count)
{
    writer->sum = hash(writer->sum, bytes, count);
    return fwrite(bytes, count, 1, writer->file->stream) == 1 ? DN_OK
                                                              : dn_new_file_fail(writer->file);
}

static dn_status put_array(dn_state_writer *writer, const dn_backend *backend,
                           const dn_optimizer_array *array)
{
    float part[DN_PART];
    for (int64_t i = 0; i < array->count; i += DN_PART) {
        const int64_t rest = array->count - i, here = rest < DN_PART ? rest : (int64_t)DN_PART;
        const size_t bytes = (size_t)here * sizeof(float);
        DN_TRY(backend->copy_out(part, array->values + i, bytes));
        DN_TRY(put(writer, part, bytes));
    }
    return DN_OK;
}

static dn_status write_state(const dn_new_file *file, const dn_network *network,
                             dn_optimizer *optimizer, const dn_train_state *state)
{
    dn_optimizer_array arrays[DN_STATE_ARRAYS];
    dn_state_header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, magic, sizeof magic);
    header.cfg_hash = hash_cfg(network->cfg);
    header.array_count = list_arrays(network, optimizer, arrays);
    header.state = *state;
    header.state.steps = dn_optimizer_get_steps(optimizer);
    header.state.seen = network->seen;
    for (int32_t i = 0; i < 3; i++) header.state.version[i] = network->version[i];
    header.bytes = sizeof header + sizeof header.bytes;
    for (int32_t i = 0; i < header.array_count; i++)
        header.bytes += sizeof(dn_state_array) + (uint64_t)arrays[i].count * sizeof(float);
    dn_state_writer writer = {file, hash_start};
    DN_TRY(put(&writer, &header, sizeof header));
    for (int32_t i = 0; i < header.array_count; i++) {
        const dn_state_array entry = entry_of(&arrays[i]);
        DN_TRY(put(&writer, &entry, sizeof entry));
    }
    for (int32_t i = 0; i < header.array_count; i++)
        DN_TRY(put_array(&writer, network->backend, &arrays[i]));
    const uint64_t sum = writer.sum;
    return put(&writer, &sum, sizeof sum);
}

dn_status dn_state_save(const char *path, const dn_network *network, dn_optimizer *optimizer,
                        const dn_train_state *state)
{
    dn_new_file file;
    DN_TRY(dn_new_file_open(&file, path, DN_FILE_SYNCED));
    return dn_new_file_close(&file, write_state(&file, network, optimizer, state));
}

/* ---- reading ---- */

static dn_state_header header_of(const dn_state_file *file)
{
    dn_state_header header;
    memcpy(&header, file->bytes, sizeof header);
    return header;
}

static dn_state_array array_of(const dn_state_file *file, int64_t index)
{
    dn_state_array array;
    memcpy(&array, file->bytes + sizeof(dn_state_header) + (size_t)index * sizeof array,
           sizeof array);
    array.name[DN_ARRAY_NAME - 1] = '\0';
    return array;
}

/* The checksum in the order in which the parts were written. */
static uint64_t sum_of(const dn_state_file *file, const dn_state_header *header)
{
    const char *at = file->bytes;
    uint64_t sum = hash(hash_start, at, sizeof *header);
    at += sizeof *header;
    for (int64_t i = 0; i < header->array_count; i++, at += sizeof(dn_state_array))
        sum = hash(sum, at, sizeof(dn_state_array));
    for (int64_t i = 0; i < header->array_count; i++) {
        const size_t bytes = (size_t)array_of(file, i).count * sizeof(float);
        if (bytes > 0) sum = hash(sum, at, bytes);
        at += bytes;
    }
    return sum;
}

static dn_status check_magic(const char *path, const char *bytes, size_t length)
{
    if (length < sizeof magic || memcmp(bytes, magic, magic_stem) != 0)
        return dn_fail(DN_ERROR_DATA, "%s: is not a training state", path);
    if (bytes[magic_stem] != magic[magic_stem])
        return dn_fail(DN_ERROR_DATA,
                       "%s: is of version %c, this program reads version %c; start from the "
                       "weights beside it (-clear)",
                       path, bytes[magic_stem], magic[magic_stem]);
    return DN_OK;
}

/* Whole to the last byte? Every number is checked before it is used as a length. */
static dn_status check_whole(const dn_state_file *file, size_t length)
{
    const dn_status damaged = DN_ERROR_DATA;
    DN_TRY(check_magic(file->path, file->bytes, length));
    if (length < sizeof(dn_state_header))
        return dn_fail(damaged, "%s: is cut: %zu bytes", file->path, length);
    const dn_state_header header = header_of(file);
    if (header.bytes != length)
        return dn_fail(damaged, "%s: is cut or damaged: %zu bytes, its header says %llu",
                       file->path, length, (unsigned long long)header.bytes);
    uint64_t bytes = sizeof header + sizeof(uint64_t), sum = 0;
    bool fits = header.array_count >= 1 && header.array_count <= DN_STATE_ARRAYS &&
                bytes + (uint64_t)header.array_count * sizeof(dn_state_array) <= length;
    for (int64_t i = 0; fits && i < header.array_count; i++) {
        const int64_t count = array_of(file, i).count;
        fits = count >= 0 && (uint64_t)count <= length / sizeof(float);
        if (fits) bytes += sizeof(dn_state_array) + (uint64_t)count * sizeof(float);
    }
    if (fits && bytes == length) {
        memcpy(&sum, file->bytes + length - sizeof sum, sizeof sum);
        if (sum == sum_of(file, &header)) return DN_OK;
    }
    return dn_fail(damaged, "%s: is damaged: its checksum is wrong", file->path);
}

dn_status dn_state_open(const char *path, dn_state_file *file)
{
    size_t length = 0;
    *file = (dn_state_file){.path = dn_strdup(path)};
    dn_status status = file->path ? DN_OK : DN_ERROR_MEMORY;
    if (status == DN_OK) status = dn_read_file(path, (size_t)1 << 36, &file->bytes, &length);
    if (status == DN_OK) status = check_whole(file, length);
    if (status != DN_OK)
        dn_state_close(file);
    else
        file->state = header_of(file).state;
    return status;
}

void dn_state_close(dn_state_file *file)
{
    dn_free(file->path);
    dn_free(file->bytes);
    *file = (dn_state_file){0};
}

dn_status dn_state_check_cfg(const dn_state_file *file, const dn_cfg *cfg)
{
    if (header_of(file).cfg_hash == hash_cfg(cfg)) return DN_OK;
    return dn_fail(DN_ERROR_DATA,
                   "%s: was written for another cfg than %s is now; -clear starts anew from the "
                   "weights",
                   file->path, cfg->name);
}

dn_status dn_state_apply(const dn_state_file *file, dn_network *network, dn_optimizer *optimizer)
{
    dn_optimizer_array arrays[DN_STATE_ARRAYS];
    const dn_state_header header = header_of(file);
    const int32_t count = list_arrays(network, optimizer, arrays);
    bool fits = header.array_count == count;
    for (int32_t i = 0; fits && i < count; i++) {
        const dn_state_array found = array_of(file, i), wanted = entry_of(&arrays[i]);
        fits = memcmp(&found, &wanted, sizeof found) == 0;
    }
    if (!fits)
        return dn_fail(DN_ERROR_DATA, "%s: was written for another optimizer or network",
                       file->path);
    const char *at = file->bytes + sizeof header + (size_t)count * sizeof(dn_state_array);
    for (int32_t i = 0; i < count; i++) {
        const size_t bytes = (size_t)arrays[i].count * sizeof(float);
        DN_TRY(network->backend->copy_in(arrays[i].values, at, bytes));
        at += bytes;
    }
    DN_TRY(dn_optimizer_take_scale(optimizer, network));
    dn_optimizer_set_steps(optimizer, file->state.steps);
    network->seen = file->state.seen;
    for (int32_t i = 0; i < 3; i++) network->version[i] = (int32_t)file->state.version[i];
    dn_network_touch(network);
    return DN_OK;
}
