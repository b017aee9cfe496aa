/* The ABI version, so that a caller built against another darknet.h can notice. */
#include "darknet.h"

int dn_abi_version(void)
{
    return DN_ABI_VERSION;
}
