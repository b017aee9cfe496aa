/* Results as JSON: Darknet's `-out result.json` and COCO's result files. Strings are escaped. */
#ifndef DN_CLI_RESULT_JSON_H
#define DN_CLI_RESULT_JSON_H

#include "darknet.h"

#include <stdio.h>

/* A mask as COCO's {"size":[h,w],"counts":"..."}. */
void dn_json_rle(FILE *file, const dn_rle *rle);

/* One image of Darknet's array: frame_id counts from 1; masks are added as "mask". */
void dn_json_image(FILE *file, const dn_result *result, const char *path, int64_t frame_id,
                   char **names);

#endif
