/* COCO result files: what was found in images, as JSON that COCO's server and pycocotools read. */
#ifndef DN_CLI_COCO_RESULTS_H
#define DN_CLI_COCO_RESULTS_H

#include "darknet.h"

typedef struct dn_coco_results dn_coco_results;

/* Opens <folder>/<name>.json for boxes and, if wanted, <name>_segm.json for masks; makes the
 * folder. from_json: ids of images and categories are the data set's; else Darknet's rules give
 * them. */
dn_coco_results *dn_open_coco_results(const char *folder, const char *name, bool masks,
                                      const dn_dataset_view *view, bool from_json);

/* Writes what was found in image `image` of the data set. */
void dn_write_coco_results(dn_coco_results *results, int64_t image, const dn_eval_image *found);

void dn_close_coco_results(dn_coco_results *results);

#endif
