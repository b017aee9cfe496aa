/* Text files read line by line: image lists, label rows, class names.
 *
 * Lines may end in LF or CR LF; blanks around a line are cut off; a UTF-8 byte order mark is
 * skipped. A zero byte is an error, since it means that the file is not a text.
 */
#ifndef DN_DATA_TEXT_FILE_H
#define DN_DATA_TEXT_FILE_H

#include "core/status.h"

typedef struct dn_text_file {
    char *bytes;
    char *next;   /* start of the next line, NULL behind the last one */
    int32_t line; /* number of the line that dn_text_line gave last, from 1 */
} dn_text_file;

/* Reads the file; after success dn_text_close must follow. */
dn_status dn_text_open(const char *path, dn_text_file *out);
void dn_text_close(dn_text_file *file);

/* The next line, writable, valid until dn_text_close; NULL at the end. */
char *dn_text_line(dn_text_file *file);

/* The next word of a line, NUL-terminated in place; *rest goes behind it. NULL: there is none. */
char *dn_text_word(char **rest);

#endif
