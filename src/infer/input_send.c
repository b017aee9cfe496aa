/* Bytes of the host to a device. See input_send.h.
 *
 * A device reads page-locked memory while the host does something else. The bytes are copied there
 * chunk by chunk, in a ring: a chunk travels while the next ones are copied. One core copies slower
 * than a bus carries, so a team copies what is large, in larger chunks, since each costs the
 * calling thread a few microseconds. What is small one thread has copied before others are awake.
 */
#include "infer/input_send.h"

#include <string.h>

enum {
    DN_CHUNK = 1 << 18,        /* that one thread copies */
    DN_CHUNK_SHARED = 1 << 21, /* that a team copies, at most */
    DN_TASK = 1 << 16,         /* of one of its threads */
    DN_SHARED_FROM = 1 << 20,
    DN_PAGE = 1 << 12
};

bool dn_input_is_shared(const dn_network *network, size_t bytes)
{
    return bytes >= DN_SHARED_FROM && network->options.threads > 1;
}

static dn_status reserve(const dn_backend *backend, dn_input_scratch *scratch, size_t chunk)
{
    void *memory;
    for (int32_t k = 0; k < DN_CHUNKS; k++)
        if (!scratch->sent[k]) DN_TRY(backend->marks->make(&scratch->sent[k]));
    if (chunk <= scratch->chunk_bytes) return DN_OK;
    for (int32_t k = 0; k < DN_CHUNKS; k++) DN_TRY(backend->marks->wait(scratch->sent[k]));
    DN_TRY(backend->alloc_host(DN_CHUNKS * chunk, &memory));
    backend->free_host(scratch->chunks);
    scratch->chunks = memory;
    scratch->chunk_bytes = chunk;
    return DN_OK;
}

/* A team's: of something that is no longer than a few chunks at least two, so that one travels
 * while the other is copied. */
static size_t chunk_for(const dn_team *team, size_t bytes)
{
    if (!team) return DN_CHUNK;
    const size_t half = (bytes / 2 + DN_PAGE - 1) / DN_PAGE * DN_PAGE;
    return half < DN_CHUNK ? DN_CHUNK : half < DN_CHUNK_SHARED ? half : DN_CHUNK_SHARED;
}

/* ---- Copying ---- */

typedef struct dn_filling {
    uint8_t *to;
    const uint8_t *from;
    size_t bytes;
    bool begun;
} dn_filling;

static int32_t next_tasks(void *data)
{
    dn_filling *filling = data;
    const int32_t tasks = (int32_t)((filling->bytes + DN_TASK - 1) / DN_TASK);
    if (filling->begun) return 0;
    filling->begun = true;
    return tasks;
}

static void copy_task(void *data, int32_t task, int32_t thread)
{
    const dn_filling *filling = data;
    const size_t at = (size_t)task * DN_TASK, left = filling->bytes - at;
    (void)thread;
    memcpy(filling->to + at, filling->from + at, left < DN_TASK ? left : DN_TASK);
}

static void fill(dn_team *team, uint8_t *to, const uint8_t *from, size_t bytes)
{
    dn_filling filling = {to, from, bytes, false};
    if (team)
        dn_team_run(team, &(dn_team_work){next_tasks, copy_task, &filling});
    else
        memcpy(to, from, bytes);
}

dn_status dn_input_send(const dn_input_rule *rule, dn_input_scratch *scratch, void *block,
                        const void *host, size_t bytes)
{
    const dn_backend *backend = rule->backend;
    const size_t chunk = chunk_for(rule->team, bytes);
    DN_TRY(reserve(backend, scratch, rule->team ? DN_CHUNK_SHARED : DN_CHUNK));
    for (size_t at = 0; at < bytes; at += chunk) {
        const size_t some = bytes - at < chunk ? bytes - at : chunk;
        void *mark = scratch->sent[scratch->chunk];
        uint8_t *room = scratch->chunks + (size_t)scratch->chunk * scratch->chunk_bytes;
        scratch->chunk = (scratch->chunk + 1) % DN_CHUNKS;
        DN_TRY(backend->marks->wait(mark));
        fill(rule->team, room, (const uint8_t *)host + at, some);
        DN_TRY(backend->send((uint8_t *)block + at, room, some));
        DN_TRY(backend->marks->set(mark));
    }
    return DN_OK;
}
