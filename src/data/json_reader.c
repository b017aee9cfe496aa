/* JSON as a stream of events: see json_reader.h. */
#include "data/json_reader.h"

#include "core/memory.h"
#include "core/number.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum { DN_JSON_PIECE = 1 << 16 };

/* Stands before every block that yajl owns. */
typedef struct dn_json_block {
    struct dn_json_block *previous, *next;
    size_t bytes;
} dn_json_block;

enum { DN_JSON_BLOCK_HEADER = 64 }; /* keeps dn_alloc's alignment */

struct dn_json_reader {
    const char *path;
    dn_json_handler handler;
    void *context;
    yajl_handle parser;
    dn_status status; /* of the handler, or of the reader itself */
    int32_t depth;
    size_t piece_length, counted; /* bytes of the piece, and those whose lines are counted */
    int32_t line;
    dn_json_block blocks; /* head of the ring of yajl's blocks */
    jmp_buf out_of_memory;
    unsigned char piece[DN_JSON_PIECE];
};

/* ---- memory for yajl ---- */

static void *block_alloc(void *context, size_t bytes)
{
    dn_json_reader *reader = context;
    dn_json_block *block =
        bytes > SIZE_MAX - DN_JSON_BLOCK_HEADER ? NULL : dn_alloc(bytes + DN_JSON_BLOCK_HEADER);
    if (!block) longjmp(reader->out_of_memory, 1);
    block->bytes = bytes;
    block->previous = &reader->blocks;
    block->next = reader->blocks.next;
    block->next->previous = block;
    reader->blocks.next = block;
    return (char *)block + DN_JSON_BLOCK_HEADER;
}

static void block_free(void *context, void *memory)
{
    (void)context;
    if (!memory) return;
    dn_json_block *block = (void *)((char *)memory - DN_JSON_BLOCK_HEADER);
    block->previous->next = block->next;
    block->next->previous = block->previous;
    dn_free(block);
}

static void *block_realloc(void *context, void *memory, size_t bytes)
{
    void *grown = block_alloc(context, bytes);
    if (memory) {
        const dn_json_block *block = (void *)((char *)memory - DN_JSON_BLOCK_HEADER);
        memcpy(grown, memory, block->bytes < bytes ? block->bytes : bytes);
        block_free(context, memory);
    }
    return grown;
}

static void free_all_blocks(dn_json_reader *reader)
{
    while (reader->blocks.next != &reader->blocks)
        block_free(reader, (char *)reader->blocks.next + DN_JSON_BLOCK_HEADER);
}

/* ---- events ---- */

bool dn_json_opens(const dn_json_event *event)
{
    return event->kind == DN_JSON_MAP_START || event->kind == DN_JSON_LIST_START;
}

bool dn_json_text_is(const dn_json_event *event, const char *text)
{
    return event->length == strlen(text) && memcmp(event->text, text, event->length) == 0;
}

int32_t dn_json_line(dn_json_reader *reader)
{
    const size_t at = yajl_get_bytes_consumed(reader->parser);
    const unsigned char *piece = reader->piece;
    while (reader->counted < at) {
        const unsigned char *end = memchr(piece + reader->counted, '\n', at - reader->counted);
        reader->counted = end ? (size_t)(end - piece) + 1 : at;
        reader->line += end != NULL;
    }
    return reader->line;
}

/* Returns what yajl's callbacks return: 0 ends the parsing. */
static int send(dn_json_reader *reader, const dn_json_event *event)
{
    reader->status = reader->handler(reader->context, reader, event);
    return reader->status == DN_OK;
}

static int send_kind(void *context, dn_json_kind kind)
{
    return send(context, &(dn_json_event){.kind = kind});
}

static int send_text(void *context, dn_json_kind kind, const void *text, size_t length)
{
    return send(context, &(dn_json_event){.kind = kind, .text = text, .length = length});
}

static int on_null(void *context)
{
    return send_kind(context, DN_JSON_NULL);
}

static int on_boolean(void *context, int value)
{
    return send(context, &(dn_json_event){.kind = DN_JSON_BOOLEAN, .number = value ? 1.0 : 0.0});
}

static int on_number(void *context, const char *text, size_t length)
{
    dn_json_reader *reader = context;
    dn_json_event event = {.kind = DN_JSON_NUMBER, .text = text, .length = length};
    if (dn_read_number(text, length, &event.number) && isfinite(event.number))
        return send(reader, &event);
    const int shown = length < 40 ? (int)length : 40;
    reader->status =
        dn_fail(DN_ERROR_DATA, "%s:%d: the number %.*s%s is not finite or too long", reader->path,
                dn_json_line(reader), shown, text, (size_t)shown < length ? "..." : "");
    return 0;
}

static int on_string(void *context, const unsigned char *text, size_t length)
{
    return send_text(context, DN_JSON_STRING, text, length);
}

static int on_key(void *context, const unsigned char *text, size_t length)
{
    return send_text(context, DN_JSON_KEY, text, length);
}

static int on_start(dn_json_reader *reader, dn_json_kind kind)
{
    if (++reader->depth <= DN_JSON_DEPTH_MAX) return send_kind(reader, kind);
    reader->status = dn_fail(DN_ERROR_DATA, "%s:%d: lists and objects are nested more than %d deep",
                             reader->path, dn_json_line(reader), DN_JSON_DEPTH_MAX);
    return 0;
}

static int on_end(dn_json_reader *reader, dn_json_kind kind)
{
    reader->depth--;
    return send_kind(reader, kind);
}

static int on_map_start(void *context)
{
    return on_start(context, DN_JSON_MAP_START);
}

static int on_map_end(void *context)
{
    return on_end(context, DN_JSON_MAP_END);
}

static int on_list_start(void *context)
{
    return on_start(context, DN_JSON_LIST_START);
}

static int on_list_end(void *context)
{
    return on_end(context, DN_JSON_LIST_END);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_map_start,
    .yajl_map_key = on_key,
    .yajl_end_map = on_map_end,
    .yajl_start_array = on_list_start,
    .yajl_end_array = on_list_end,
};

/* ---- the file ---- */

/* Turns yajl's outcome into ours; its texts are "lexical error: ..." and "parse error: ...". */
static dn_status outcome(dn_json_reader *reader, yajl_status result)
{
    if (result == yajl_status_ok) return DN_OK;
    if (result == yajl_status_client_canceled) return reader->status;
    const int32_t line = dn_json_line(reader);
    unsigned char *text = yajl_get_error(reader->parser, 0, NULL, 0);
    const char *reason = text ? (const char *)text : "unknown error";
    return dn_fail(DN_ERROR_DATA, "%s:%d: not JSON: %.*s", reader->path, line,
                   (int)strcspn(reason, "\n"), reason);
}

static dn_status parse(dn_json_reader *reader, FILE *file)
{
    yajl_alloc_funcs memory = {block_alloc, block_realloc, block_free, reader};
    if (setjmp(reader->out_of_memory)) return DN_ERROR_MEMORY;
    reader->parser = yajl_alloc(&callbacks, &memory, reader);
    size_t mark = 3; /* bytes that may be a byte order mark */
    while ((reader->piece_length = fread(reader->piece, 1, DN_JSON_PIECE, file)) > 0) {
        if (mark && reader->piece_length >= mark && memcmp(reader->piece, "\xEF\xBB\xBF", 3) == 0)
            memset(reader->piece, ' ', mark);
        mark = 0;
        reader->counted = 0;
        DN_TRY(outcome(reader, yajl_parse(reader->parser, reader->piece, reader->piece_length)));
        while (reader->counted < reader->piece_length)
            reader->line += reader->piece[reader->counted++] == '\n';
    }
    if (ferror(file))
        return dn_fail(DN_ERROR_IO, "%s: cannot read: %s", reader->path, strerror(errno));
    return outcome(reader, yajl_complete_parse(reader->parser));
}

dn_status dn_json_read(const char *path, dn_json_handler handler, void *context)
{
    FILE *file = fopen(path, "rb");
    if (!file) return dn_fail(DN_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    dn_status status = DN_ERROR_MEMORY;
    dn_json_reader *reader = dn_alloc(sizeof *reader);
    if (reader) {
        reader->path = path;
        reader->handler = handler;
        reader->context = context;
        reader->line = 1;
        reader->blocks.previous = reader->blocks.next = &reader->blocks;
        status = parse(reader, file);
        free_all_blocks(reader);
        dn_free(reader);
    }
    fclose(file);
    return status;
}
