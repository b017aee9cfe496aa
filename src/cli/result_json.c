/* Results as JSON: see result_json.h. */
#include "cli/result_json.h"

#include "cli/arguments.h"
#include "core/json_text.h"

#include <stdlib.h>

void dn_json_rle(FILE *file, const dn_rle *rle)
{
    char *text = malloc(dn_rle_string(rle, NULL) + 1);
    if (!text) dn_die("out of memory");
    dn_rle_string(rle, text);
    fprintf(file, "{\"size\":[%d,%d],\"counts\":", rle->height, rle->width);
    dn_json_text(file, text);
    fputc('}', file);
    free(text);
}

static void print_instance(FILE *file, const dn_result *result, const dn_instance *instance,
                           char **names)
{
    const dn_box *box = &instance->box;
    const double w = result->width, h = result->height;
    fprintf(file, "  {\"class_id\":%d, \"name\":", instance->class_id);
    dn_json_text(file, names[instance->class_id]);
    fprintf(file,
            ", \"relative_coordinates\":{\"center_x\":%f, \"center_y\":%f, \"width\":%f, "
            "\"height\":%f}, \"confidence\":%f",
            (double)(box->x0 + box->x1) / 2 / w, (double)(box->y0 + box->y1) / 2 / h,
            (double)(box->x1 - box->x0) / w, (double)(box->y1 - box->y0) / h,
            (double)instance->score);
    if (instance->mask) {
        dn_rle rle;
        dn_must(dn_mask_paste(&rle, instance->mask, result->mask_size, instance->mask_box,
                              result->height, result->width, .5f));
        fprintf(file, ", \"mask\":");
        dn_json_rle(file, &rle);
        dn_rle_free(&rle);
    }
    fputc('}', file);
}

void dn_json_image(FILE *file, const dn_result *result, const char *path, int64_t frame_id,
                   char **names)
{
    fprintf(file, "%s{\n \"frame_id\":%lld, \n \"filename\":", frame_id > 1 ? ", \n" : "",
            (long long)frame_id);
    dn_json_text(file, path);
    fprintf(file, ", \n \"objects\": [ \n");
    for (int32_t i = 0; i < result->instance_count; i++) {
        if (i > 0) fprintf(file, ", \n");
        print_instance(file, result, &result->instances[i], names);
    }
    fprintf(file, "\n ] \n}");
}
