/* See devices.h. */
#include "train/devices.h"

#include "core/option.h"

#include <stdio.h>
#include <string.h>

/* One entry: "cuda:1", "cuda", "cpu", or "1" behind others. */
static dn_status read_entry(const char *list, const char *entry, size_t length, dn_devices *devices)
{
    const int32_t at = devices->count;
    const bool behind_gpu = at > 0 && strcmp(devices->names[0], "cpu") != 0;
    const bool cpu = length == 3 && strncmp(entry, "cpu", length) == 0;
    char text[DN_DEVICE_NAME] = "";
    const char *number = text;
    int64_t value = 0;
    if (length < sizeof text) memcpy(text, entry, length);
    if (strcmp(text, "cuda") == 0) snprintf(text, sizeof text, "cuda:0");
    if (strncmp(text, "cuda:", 5) == 0)
        number += 5;
    else if (!behind_gpu)
        number = ""; /* is none */
    if (at == DN_DEVICES)
        return dn_fail(DN_ERROR_DEVICE, "device %s: at most %d are allowed", list, DN_DEVICES);
    if (!cpu && (!dn_parse_int(number, &value) || value < 0 || value > 1023))
        return dn_fail(DN_ERROR_DEVICE,
                       "device %s: several devices are GPUs, as cuda:0,1, or cpu,cpu", list);
    if (at > 0 && cpu == behind_gpu)
        return dn_fail(DN_ERROR_DEVICE, "device %s: all must be GPUs, or all the CPU", list);
    for (int32_t i = 0; !cpu && i < at; i++)
        if (devices->numbers[i] == value)
            return dn_fail(DN_ERROR_DEVICE, "device %s: cuda:%lld is named twice", list,
                           (long long)value);
    devices->numbers[at] = (int32_t)value;
    if (cpu)
        snprintf(devices->names[at], DN_DEVICE_NAME, "cpu");
    else
        snprintf(devices->names[at], DN_DEVICE_NAME, "cuda:%d", (int)value);
    devices->count++;
    return DN_OK;
}

dn_status dn_devices_read(const char *list, dn_devices *devices)
{
    *devices = (dn_devices){0};
    if (!list || !strchr(list, ',')) {
        devices->count = 1;
        return DN_OK;
    }
    for (const char *at = list;; at++) {
        const size_t length = strcspn(at, ",");
        DN_TRY(read_entry(list, at, length, devices));
        at += length;
        if (!*at) return DN_OK;
    }
}
