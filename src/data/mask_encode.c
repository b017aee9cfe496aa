/* The masks of a result as COCO's strings, in one go: see darknet.h.
 *
 * Every mask is pasted into runs and written behind the texts so far, into room for the longest
 * string that its runs may need; so nothing is measured first.
 */
#include "core/memory.h"
#include "data/rle.h"

/* The texts so far, each with its NUL. */
typedef struct dn_texts {
    char *text;
    size_t length, capacity;
} dn_texts;

static dn_status reserve(dn_texts *texts, size_t more)
{
    const size_t wanted = texts->length + more;
    if (wanted <= texts->capacity) return DN_OK;
    const size_t capacity = 2 * wanted;
    char *grown = dn_realloc(texts->text, texts->length, capacity);
    if (!grown) return DN_ERROR_MEMORY;
    texts->text = grown;
    texts->capacity = capacity;
    return DN_OK;
}

static dn_status append(dn_texts *texts, const dn_rle *rle)
{
    DN_TRY(reserve(texts, (size_t)rle->run_count * DN_RLE_TEXT_OF_RUN + 1));
    texts->length += dn_rle_string(rle, texts->text + texts->length) + 1;
    return DN_OK;
}

dn_status dn_masks_encode(char **text, size_t *length, const float *masks, int32_t side,
                          const dn_box *boxes, int64_t count, int32_t height, int32_t width,
                          float threshold)
{
    dn_texts texts = {0};
    dn_status status = reserve(&texts, 1);
    for (int64_t i = 0; i < count && status == DN_OK; i++) {
        const float *mask = masks + i * (int64_t)side * side;
        dn_rle rle = {0};
        status = dn_mask_paste(&rle, mask, side, boxes[i], height, width, threshold);
        if (status == DN_OK) status = append(&texts, &rle);
        dn_rle_free(&rle);
    }
    if (status == DN_OK) {
        *text = texts.text;
        *length = texts.length;
    } else {
        dn_free(texts.text);
    }
    return status;
}
