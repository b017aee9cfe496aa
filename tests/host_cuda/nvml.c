/* A libnvidia-ml.so.1 that knows one GPU, for tests/test_cuda_device.py: the functions that
 * cuda/describe.cu asks, as NVML's documentation declares them. */
#include <string.h>

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device);
int nvmlDeviceGetClockInfo(void *device, int kind, unsigned *mhz);
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);
int nvmlDeviceGetPowerManagementLimit(void *device, unsigned *milliwatts);

static int users;

int nvmlInit_v2(void)
{
    users++;
    return 0;
}

int nvmlShutdown(void)
{
    return users-- > 0 ? 0 : 1;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device)
{
    *device = &users;
    return users == 1 && strcmp(bus, "0000:1B:00.0") == 0 ? 0 : 6;
}

int nvmlDeviceGetClockInfo(void *device, int kind, unsigned *mhz)
{
    *mhz = kind == 1 ? 1980 : 2619;
    return device == &users && (kind == 1 || kind == 2) ? 0 : 2;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    *milliwatts = 412345;
    return device == &users ? 0 : 2;
}

int nvmlDeviceGetPowerManagementLimit(void *device, unsigned *milliwatts)
{
    (void)device;
    (void)milliwatts;
    return 3; /* not supported: stays 0 */
}
