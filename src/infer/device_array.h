/* Arrays in the memory of a GPU that others hold, too: what src/infer/ needs beside darknet.h. */
#ifndef DN_INFER_DEVICE_ARRAY_H
#define DN_INFER_DEVICE_ARRAY_H

#include "core/backend.h"

/* An array of zeros on the backend's device info->device, which is selected. */
dn_status dn_device_array_make(const dn_backend *backend, const dn_device_array_info *info,
                               dn_device_array **out);

void *dn_device_array_data(const dn_device_array *array);

#endif
