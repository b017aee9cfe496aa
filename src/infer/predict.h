/* From images to answers: what the files of src/infer ask of each other. */
#ifndef DN_INFER_PREDICT_H
#define DN_INFER_PREDICT_H

#include "core/survivors.h"
#include "data/geometry.h"
#include "layers/mask.h"

/* Gives the instances of image `image` of the last pass their masks: fills mask_size, masks, and
 * mask, mask_box and mask_score of each instance that has an RoI. The letterbox is the image's.
 * Does nothing where the network has no [mask]. */
dn_status dn_attach_masks(dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          dn_result *result);

/* The same in parts, for those who do not wait for the masks in between. */
typedef struct dn_mask_list {
    dn_mask_request *requests; /* (count), freed with dn_free: of result->masks, in its order */
    int32_t count;
} dn_mask_list;

/* All but the masks' values and mask_score; `layer` is the network's [mask]. */
dn_status dn_masks_place(const dn_layer *layer, int32_t image, const dn_letterbox *letterbox,
                         dn_result *result, dn_mask_list *list);

/* mask_score, when the values are there. */
void dn_masks_score(dn_result *result);

/* dn_predict_options with the defaults filled in; NULL is allowed. */
dn_predict_options dn_predict_defaults(const dn_predict_options *options);

/* Boxes, classes and scores of image `image` of the last pass, best first. */
dn_status dn_predict_find(dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          const dn_predict_options *options, dn_result *result);

/* The same of a detector, from what a device kept of the image; `input` is the network's. */
dn_status dn_predict_list(const dn_survivor *kept, int32_t count, const dn_tensor *input,
                          const dn_letterbox *letterbox, const dn_predict_options *options,
                          dn_result *result);

/* Lists masks instead of placing them, one of each instance, in jobs (instance_count), and fills
 * mask_size and the instances' mask_box. */
typedef struct dn_mask_job dn_mask_job;
void dn_list_masks(const dn_layer *layer, int32_t image, const dn_letterbox *letterbox,
                   dn_result *result, dn_mask_job *jobs);

/* Gives a paster of the network's pool, which holds the masks of a result, to *out, which gives it
 * back. */
dn_status dn_device_masks_of(const dn_network *network, dn_paster *paster, const dn_result *result,
                             dn_device_masks **out);

/* Gives the instances of `count` images of the last pass, from image `first` on, their masks in the
 * form that the options say, and their mask_box and mask_score; results: (count). */
dn_status dn_give_masks(dn_network *network, int32_t first, int32_t count,
                        const dn_predict_options *options, dn_result **results);

/* The same in parts, of strings that a device makes, for those who do not wait for them in between:
 * the network may go on. *paster, which is made where it is NULL, holds them; not *begun: the
 * device does not, dn_give_masks is to be asked. The end may be asked for by any thread whose
 * device is the network's. */
dn_status dn_begin_strings(dn_network *network, dn_paster **paster,
                           const dn_predict_options *options, dn_result **results, int32_t count,
                           bool *begun);
dn_status dn_end_strings(const dn_backend *backend, dn_paster *paster, dn_result **results,
                         int32_t count);

/* The same of masks that stay on the device, which there is. Behind a mark means, one each instance
 * of all results in memory of alloc_host, are there, and dn_end_kept may be asked for. */
dn_status dn_begin_kept(dn_network *network, const dn_predict_options *options, dn_result **results,
                        int32_t count, float *means);
void dn_end_kept(dn_result **results, int32_t count, const float *means);

#endif
