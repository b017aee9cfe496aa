/* JPEG files on the device in a build that has not found nvJPEG: see jpeg.h. */
#include "jpeg.h"

#include "core/status.h"

static dn_status open_decoder(void **)
{
    return dn_fail(DN_ERROR_DEVICE, "this library was built without nvJPEG");
}

const dn_device_jpeg dn_cuda_jpeg = {open_decoder, nullptr, nullptr};
