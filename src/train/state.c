/* The training state beside a weights file: see state.h. */
#include "train/state.h"

#include "core/memory.h"
#include "core/new_file.h"

#include <string.h>

typedef struct dn_state_header {
    char magic[8];
    int64_t floats; /* the optimizer's, which follow */
    int64_t iteration, steps;
    double average_loss;
    uint64_t seed, cfg_hash, params_hash;
    int32_t stage, rule;
} dn_state_header;

static const char magic[8] = "DNSTATE1";

static uint64_t hash(uint64_t seed, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    uint64_t value = seed ^ UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < count; i++) value = (value ^ at[i]) * UINT64_C(0x100000001B3);
    return value;
}

/* Sections and keys count, comments and layout do not. */
static uint64_t hash_cfg(const dn_cfg *cfg)
{
    uint64_t value = 0;
    for (int32_t i = 0; i < cfg->section_count; i++) {
        const dn_cfg_section *section = &cfg->sections[i];
        value = hash(value, section->name, strlen(section->name) + 1);
        for (int32_t j = 0; j < section->entry_count; j++) {
            const dn_cfg_entry *entry = &section->entries[j];
            value = hash(value, entry->key, strlen(entry->key) + 1);
            value = hash(value, entry->value, strlen(entry->value) + 1);
        }
    }
    return value;
}

static dn_state_header header_of(const dn_network *network, const dn_optimizer *optimizer,
                                 const dn_train_state *state)
{
    dn_state_header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, magic, sizeof magic);
    header.floats = optimizer->floats;
    header.iteration = state->iteration;
    header.steps = optimizer->steps;
    header.average_loss = state->average_loss;
    header.seed = state->seed;
    header.cfg_hash = hash_cfg(network->cfg);
    header.params_hash = hash(0, network->params, (size_t)network->param_floats * sizeof(float));
    header.stage = (int32_t)network->options.stage;
    header.rule = (int32_t)optimizer->rule;
    return header;
}

static bool write_state(FILE *file, const dn_state_header *header, const dn_optimizer *optimizer)
{
    const size_t bytes = (size_t)optimizer->floats * sizeof(float);
    const uint64_t sum = hash(hash(0, header, sizeof *header), optimizer->values, bytes);
    return fwrite(header, sizeof *header, 1, file) == 1 &&
           (bytes == 0 || fwrite(optimizer->values, bytes, 1, file) == 1) &&
           fwrite(&sum, sizeof sum, 1, file) == 1;
}

dn_status dn_state_save(const char *path, const dn_network *network, const dn_optimizer *optimizer,
                        const dn_train_state *state)
{
    const dn_state_header header = header_of(network, optimizer, state);
    dn_new_file file;
    DN_TRY(dn_new_file_open(&file, path, DN_FILE_SYNCED));
    const bool written = write_state(file.stream, &header, optimizer);
    return dn_new_file_close(&file, written ? DN_OK : dn_new_file_fail(&file));
}

/* Does the state on disk belong to this network? Compares what must be equal. */
static dn_status check(const char *path, const dn_state_header *found,
                       const dn_state_header *wanted)
{
    if (memcmp(found->magic, magic, sizeof magic) != 0)
        return dn_fail(DN_ERROR_DATA, "%s: is not a training state", path);
    if (found->cfg_hash != wanted->cfg_hash)
        return dn_fail(DN_ERROR_DATA, "%s: was written for another cfg", path);
    if (found->stage != wanted->stage || found->rule != wanted->rule ||
        found->floats != wanted->floats)
        return dn_fail(DN_ERROR_DATA, "%s: was written for another stage or optimizer", path);
    if (found->params_hash != wanted->params_hash)
        return dn_fail(DN_ERROR_DATA, "%s: belongs to other weights", path);
    return DN_OK;
}

dn_status dn_state_load(const char *path, const dn_network *network, dn_optimizer *optimizer,
                        dn_train_state *state)
{
    char *text = NULL;
    size_t length = 0;
    DN_TRY(dn_read_file(path, (size_t)1 << 36, &text, &length));
    const dn_state_header wanted = header_of(network, optimizer, state);
    const size_t bytes = (size_t)optimizer->floats * sizeof(float);
    dn_state_header found = {0};
    uint64_t sum = 0;
    dn_status status = DN_OK;
    if (length < sizeof found + sizeof sum) {
        status = dn_fail(DN_ERROR_DATA, "%s: is cut", path);
    } else {
        memcpy(&found, text, sizeof found);
        memcpy(&sum, text + length - sizeof sum, sizeof sum);
        status = check(path, &found, &wanted);
    }
    if (status == DN_OK && (length != sizeof found + bytes + sizeof sum ||
                            sum != hash(hash(0, &found, sizeof found), text + sizeof found, bytes)))
        status = dn_fail(DN_ERROR_DATA, "%s: is cut or damaged", path);
    if (status == DN_OK) {
        memcpy(optimizer->values, text + sizeof found, bytes);
        optimizer->steps = found.steps;
        *state = (dn_train_state){found.iteration, found.average_loss, found.seed};
    }
    dn_free(text);
    return status;
}
