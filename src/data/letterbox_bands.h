/* An image on its way into a network's input, cut into bands of rows that do not need each other:
 * on which threads they are made is the caller's affair, and changes nothing in them.
 */
#ifndef DN_DATA_LETTERBOX_BANDS_H
#define DN_DATA_LETTERBOX_BANDS_H

#include "core/status.h"
#include "math/letterbox_row.h"

typedef struct dn_letterbox_bands {
    const dn_image *image;
    const dn_letterbox *letterbox;
    dn_letterbox_columns columns;
    int32_t quick_end; /* columns before it have a byte behind their pixels, in the same row */
    int32_t count;     /* of bands */
    float *rows;       /* (threads, 2, 3, net_w): two source rows of each thread */
    float *out;        /* (3, net_h, net_w) */
} dn_letterbox_bands;

/* `image` and `letterbox` must stay until the end. On failure there is nothing to end. */
dn_status dn_letterbox_begin(const dn_image *image, const dn_letterbox *letterbox, int32_t threads,
                             int32_t count, float *out, dn_letterbox_bands *bands);
void dn_letterbox_band(const dn_letterbox_bands *bands, int32_t band, int32_t thread);
void dn_letterbox_end(dn_letterbox_bands *bands);

#endif
