/* Masks of the instances. See predict.h. */
#include "infer/predict.h"

dn_status dn_attach_masks(const dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          dn_result *result)
{
    (void)network;
    (void)image;
    (void)letterbox;
    (void)result;
    return DN_OK;
}
