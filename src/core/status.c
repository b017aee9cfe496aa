/* Errors: the thread-local message and the one function that writes it. See status.h. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DN_MESSAGE_SIZE = 1024 };

static _Thread_local char dn_message[DN_MESSAGE_SIZE];

const char *dn_error_message(void)
{
    return dn_message;
}

dn_status dn_fail(dn_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(dn_message, sizeof dn_message, format, arguments);
    va_end(arguments);
    return status;
}

dn_status dn_fail_prefix(dn_status status, const char *format, ...)
{
    char old[DN_MESSAGE_SIZE];
    memcpy(old, dn_message, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(dn_message, sizeof dn_message, format, arguments);
    va_end(arguments);
    if (length < 0) length = 0;
    if (length < DN_MESSAGE_SIZE)
        snprintf(dn_message + length, (size_t)(DN_MESSAGE_SIZE - length), ": %s", old);
    return status;
}
