/* See devices.h. */
#include "train/devices.h"

#include "core/option.h"

#include <stdio.h>
#include <string.h>

/* "cuda:1", "cuda", "cpu", or "1" behind a GPU; false where it is none of them. */
static bool parse_entry(const char *entry, size_t length, bool behind_gpu,
                        char name[DN_DEVICE_NAME], int32_t *number)
{
    char text[DN_DEVICE_NAME] = "";
    const char *digits = text;
    int64_t value = 0;
    if (length < sizeof text) memcpy(text, entry, length);
    if (strcmp(text, "cpu") == 0) {
        snprintf(name, DN_DEVICE_NAME, "cpu");
        return true;
    }
    if (strcmp(text, "cuda") == 0) snprintf(text, sizeof text, "cuda:0");
    if (strncmp(text, "cuda:", 5) == 0)
        digits += 5;
    else if (!behind_gpu)
        return false;
    if (!dn_parse_int(digits, &value) || value < 0 || value > 1023) return false;
    *number = (int32_t)value;
    snprintf(name, DN_DEVICE_NAME, "cuda:%d", (int)value);
    return true;
}

/* One of several. */
static dn_status read_entry(const char *list, const char *entry, size_t length, dn_devices *devices)
{
    const int32_t at = devices->count;
    const bool behind_gpu = at > 0 && strcmp(devices->names[0], "cpu") != 0;
    if (at == DN_DEVICES)
        return dn_fail(DN_ERROR_DEVICE, "device %s: at most %d are allowed", list, DN_DEVICES);
    char *name = devices->names[at];
    int32_t *number = &devices->numbers[at];
    if (!parse_entry(entry, length, behind_gpu, name, number))
        return dn_fail(DN_ERROR_DEVICE,
                       "device %s: several devices are GPUs, as cuda:0,1, or cpu,cpu", list);
    const bool cpu = strcmp(name, "cpu") == 0;
    if (at > 0 && cpu == behind_gpu)
        return dn_fail(DN_ERROR_DEVICE, "device %s: all must be GPUs, or all the CPU", list);
    for (int32_t i = 0; !cpu && i < at; i++)
        if (devices->numbers[i] == *number)
            return dn_fail(DN_ERROR_DEVICE, "device %s: %s is named twice", list, name);
    devices->count++;
    return DN_OK;
}

dn_status dn_devices_read(const char *list, dn_devices *devices)
{
    *devices = (dn_devices){0};
    if (!list || !strchr(list, ',')) {
        devices->count = 1;
        if (list) parse_entry(list, strlen(list), false, devices->names[0], devices->numbers);
        return DN_OK;
    }
    for (const char *at = list;; at++) {
        const size_t length = strcspn(at, ",");
        DN_TRY(read_entry(list, at, length, devices));
        at += length;
        if (!*at) return DN_OK;
    }
}
