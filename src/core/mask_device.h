/* What a backend with device memory does with the masks of a result, there: takes the branch's
 * answers, pastes them into their images, makes COCO's strings of them. See infer/mask_forms.c.
 *
 * The pixels and the strings are those of dn_mask_paste and dn_masks_encode, of the same answers
 * the same bits. Arguments are checked by the caller (dn_paste_check, dn_rle_check_size).
 */
#ifndef DN_CORE_MASK_DEVICE_H
#define DN_CORE_MASK_DEVICE_H

#include "core/network.h" /* dn_paster: answers in device memory, with room to work in */

#ifdef __cplusplus
extern "C" {
#endif

/* A mask to make. */
typedef struct dn_mask_job {
    int32_t roi,
        class_id; /* whose answer, of the last pass; roi -1: there is none, no pixel is set */
    dn_box box;   /* what it covers, in pixels of its image */
    int32_t height, width; /* of that image */
} dn_mask_job;

struct dn_mask_device {
    dn_status (*create)(dn_paster **out);
    void (*free)(dn_paster *paster); /* NULL is allowed; in any thread */

    /* Takes the answers of the network's last pass, (count, side, side), NaN where there is none;
     * not *done: they are not all on the device, the host has to give them. */
    dn_status (*take)(dn_paster *paster, const dn_network *network, const dn_mask_job *jobs,
                      int32_t count, bool *done);

    /* Takes them from the host. */
    dn_status (*give)(dn_paster *paster, const float *masks, int32_t side, const dn_mask_job *jobs,
                      int32_t count);

    /* Brings them to the host. */
    dn_status (*read)(const dn_paster *paster, float *masks);

    /* Makes strings of them, and does not wait. Until `text` has brought them the paster takes no
     * other masks. */
    dn_status (*encode)(dn_paster *paster, float threshold);

    /* Waits for them. *text: as of dn_masks_encode, *length bytes; *means (count):
     * dn_mask_mean_above_half. Both belong to the paster, until its next call. In any thread whose
     * device is the paster's. */
    dn_status (*text)(dn_paster *paster, const char **text, size_t *length, const float **means);

    /* means (count), host memory, there behind a mark; of alloc_host: not waited for. */
    dn_status (*means)(dn_paster *paster, float *means);

    /* pixels (count, height, width), a block, = 0 or 1; all images are of that size. Waits until
     * they are there. */
    dn_status (*dense)(const dn_paster *paster, float threshold, int32_t height, int32_t width,
                       uint8_t *pixels);
};

#ifdef __cplusplus
}
#endif

#endif
