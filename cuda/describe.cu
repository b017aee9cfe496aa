/* What a GPU is, by CUDA, and how it runs now, by NVML, the driver's library for that. NVML is
 * looked for at run time, since machines that build have no driver; what is used of it is declared
 * here, as its documentation does. Where it is missing or refuses, clocks and power stay 0.
 */
#include "describe.h"

#include "launch.h"
#include "library.h"

#include <dlfcn.h>
#include <stdio.h>

typedef struct nvmlDevice_st *dn_nvml_device;

enum { DN_NVML_CLOCK_SM = 1, DN_NVML_CLOCK_MEMORY = 2 };

/* Functions answer 0 where they succeed. */
typedef struct dn_nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*by_bus)(const char *bus, dn_nvml_device *device);
    int (*clock)(dn_nvml_device device, int kind, unsigned *mhz);
    int (*power)(dn_nvml_device device, unsigned *milliwatts);
    int (*limit)(dn_nvml_device device, unsigned *milliwatts);
} dn_nvml;

static bool find_all(void *library, dn_nvml *nvml)
{
    return dn_take_symbol(nvml->init, dlsym(library, "nvmlInit_v2")) &&
           dn_take_symbol(nvml->shutdown, dlsym(library, "nvmlShutdown")) &&
           dn_take_symbol(nvml->by_bus, dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2")) &&
           dn_take_symbol(nvml->clock, dlsym(library, "nvmlDeviceGetClockInfo")) &&
           dn_take_symbol(nvml->power, dlsym(library, "nvmlDeviceGetPowerUsage")) &&
           dn_take_symbol(nvml->limit, dlsym(library, "nvmlDeviceGetPowerManagementLimit"));
}

static void ask(const dn_nvml *nvml, const char *bus, dn_device_info *info)
{
    dn_nvml_device device = nullptr;
    unsigned value = 0;
    if (nvml->by_bus(bus, &device) != 0) return;
    if (nvml->clock(device, DN_NVML_CLOCK_SM, &value) == 0) info->clock_mhz = value;
    if (nvml->clock(device, DN_NVML_CLOCK_MEMORY, &value) == 0) info->memory_mhz = value;
    if (nvml->power(device, &value) == 0) info->power_watts = 1e-3 * value;
    if (nvml->limit(device, &value) == 0) info->power_limit_watts = 1e-3 * value;
}

static void ask_driver(const char *bus, dn_device_info *info)
{
    dn_nvml nvml = {};
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) return;
    if (find_all(library, &nvml) && nvml.init() == 0) {
        ask(&nvml, bus, info);
        nvml.shutdown();
    }
    dlclose(library);
}

dn_status dn_cuda_describe(int32_t index, dn_device_info *info)
{
    cudaDeviceProp properties;
    char bus[32];
    DN_CUDA_TRY(cudaGetDeviceProperties(&properties, index));
    snprintf(info->name, sizeof info->name, "%s", properties.name);
    info->cores = properties.multiProcessorCount;
    DN_CUDA_TRY(cudaDeviceGetPCIBusId(bus, sizeof bus, index));
    ask_driver(bus, info);
    return DN_OK;
}
