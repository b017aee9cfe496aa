/* Handles of CUDA's libraries: one a thread and device, made on first use, destroyed with the
 * thread, so that networks in two threads share none.
 */
#ifndef DN_CUDA_HANDLES_H
#define DN_CUDA_HANDLES_H

#include "launch.h"

template <typename Handle, auto destroy> struct dn_handles {
    enum { DEVICES = 64 };
    Handle of_device[DEVICES] = {};

    ~dn_handles()
    {
        for (Handle handle : of_device)
            if (handle) destroy(handle);
    }

    /* Where the current device's handle is kept, null at first. */
    dn_status place(Handle **kept)
    {
        int device = 0;
        DN_CUDA_TRY(cudaGetDevice(&device));
        if (device >= DEVICES)
            return dn_fail(DN_ERROR_DEVICE, "device cuda:%d: layers run on devices 0..%d", device,
                           DEVICES - 1);
        *kept = &of_device[device];
        return DN_OK;
    }
};

#endif
