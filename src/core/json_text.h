/* Texts and numbers in JSON files. */
#ifndef DN_CORE_JSON_TEXT_H
#define DN_CORE_JSON_TEXT_H

#include <stdio.h>

/* The text in quotes, escaped; bytes that are no UTF-8 become U+FFFD. */
void dn_json_text(FILE *file, const char *text);

/* The shortest decimal number from which the same double comes back; it must be finite. */
void dn_json_number(FILE *file, double value);

#endif
