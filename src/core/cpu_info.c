/* What the machine says of its processor: /proc/cpuinfo, where there is one. See backend.h. */
#include "core/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of a line "name   : value", or NULL. */
static const char *value_of(char *line, const char *name)
{
    if (strncmp(line, name, strlen(name)) != 0) return NULL;
    const char *value = strchr(line, ':');
    if (!value) return NULL;
    value += 1 + strspn(value + 1, " \t");
    line[strcspn(line, "\n")] = '\0';
    return value;
}

dn_status dn_cpu_describe(int32_t index, dn_device_info *info)
{
    char line[512];
    double sum = 0.0;
    int32_t clocks = 0;
    (void)index;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *value = value_of(line, "model name");
        if (value && !info->name[0]) snprintf(info->name, sizeof info->name, "%s", value);
        info->cores += strncmp(line, "processor", strlen("processor")) == 0;
        value = value_of(line, "cpu MHz");
        if (!value) continue;
        sum += strtod(value, NULL);
        clocks++;
    }
    if (file) fclose(file);
    info->clock_mhz = clocks > 0 ? sum / clocks : 0.0;
    return DN_OK;
}
