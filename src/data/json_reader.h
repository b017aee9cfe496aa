/* JSON as a stream of events, with the line of every event.
 *
 * libyajl tokenises and checks the grammar; here are the file, the caps (depth, finite numbers),
 * the line numbers and memory: yajl does not survive a failed allocation, so its allocations come
 * from dn_alloc and a failure leaves the parser by longjmp. The file is read in pieces, never as a
 * whole.
 */
#ifndef DN_DATA_JSON_READER_H
#define DN_DATA_JSON_READER_H

#include "core/status.h"

enum { DN_JSON_DEPTH_MAX = 64 };

typedef enum dn_json_kind {
    DN_JSON_NULL,
    DN_JSON_BOOLEAN, /* number: 0 or 1 */
    DN_JSON_NUMBER,  /* number, and text as written */
    DN_JSON_STRING,
    DN_JSON_KEY,
    DN_JSON_MAP_START,
    DN_JSON_MAP_END,
    DN_JSON_LIST_START,
    DN_JSON_LIST_END,
} dn_json_kind;

typedef struct dn_json_event {
    dn_json_kind kind;
    double number;
    const char *text; /* of strings and keys, unescaped UTF-8, not NUL-terminated */
    size_t length;
} dn_json_event;

/* Does a list or an object begin? Is the text of the event this one? */
bool dn_json_opens(const dn_json_event *event);
bool dn_json_text_is(const dn_json_event *event, const char *text);

typedef struct dn_json_reader dn_json_reader;

/* Called for every event in order; a failure ends the reading. */
typedef dn_status (*dn_json_handler)(void *context, dn_json_reader *reader,
                                     const dn_json_event *event);

/* Reads the one JSON value of the file. Errors of the file or its syntax name file and line; those
 * of the handler pass unchanged. */
dn_status dn_json_read(const char *path, dn_json_handler handler, void *context);

/* The line on which the current event ends, from 1. */
int32_t dn_json_line(dn_json_reader *reader);

#endif
