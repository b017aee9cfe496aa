/* A build without cuDNN has no form of its: see half_conv.h. */
#include "half_conv.h"

bool dn_half_cudnn_fits(const dn_half_conv *)
{
    return false;
}

dn_status dn_half_cudnn_run(const dn_half_conv *, const dn_half_workspace *)
{
    return dn_fail(DN_ERROR_DEVICE, "this build has no cuDNN");
}

int32_t dn_half_cudnn_version(void)
{
    return 0;
}
