/* Results as JSON: see result_json.h. */
#include "cli/result_json.h"

#include "cli/arguments.h"

#include <stdlib.h>

/* Bytes of the well-formed UTF-8 sequence that begins here (RFC 3629); 0: none does. */
static int sequence_length(const unsigned char *c)
{
    const int length = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    if (c[0] > 0xf4) return 0;
    for (int i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80) return 0;
    const bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    const bool no_character = (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf4 && c[1] > 0x8f);
    return overlong || no_character ? 0 : length;
}

/* The text in quotes, escaped; bytes that are no UTF-8 become U+FFFD. */
static void print_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        const int length = sequence_length(c);
        if (*c == '"' || *c == '\\')
            fprintf(file, "\\%c", *c);
        else if (*c < 0x20)
            fprintf(file, "\\u%04x", *c);
        else if (length == 0)
            fprintf(file, "\\ufffd");
        else
            fwrite(c, 1, (size_t)length, file);
        c += length > 0 ? length : 1;
    }
    fputc('"', file);
}

void dn_json_rle(FILE *file, const dn_rle *rle)
{
    char *text = malloc(dn_rle_string(rle, NULL) + 1);
    if (!text) dn_die("out of memory");
    dn_rle_string(rle, text);
    fprintf(file, "{\"size\":[%d,%d],\"counts\":", rle->height, rle->width);
    print_string(file, text);
    fputc('}', file);
    free(text);
}

static void print_instance(FILE *file, const dn_result *result, const dn_instance *instance,
                           char **names)
{
    const dn_box *box = &instance->box;
    const double w = result->width, h = result->height;
    fprintf(file, "  {\"class_id\":%d, \"name\":", instance->class_id);
    print_string(file, names[instance->class_id]);
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
    print_string(file, path);
    fprintf(file, ", \n \"objects\": [ \n");
    for (int32_t i = 0; i < result->instance_count; i++) {
        if (i > 0) fprintf(file, ", \n");
        print_instance(file, result, &result->instances[i], names);
    }
    fprintf(file, "\n ] \n}");
}
