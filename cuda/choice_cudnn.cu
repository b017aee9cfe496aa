/* The choices of cuDNN's algorithms that this process has made: see cudnn_choice.h.
 *
 * A list, searched from its start: a network has some dozens of shapes, and asks when it is made.
 */
#include "cudnn_choice.h"

#include <cstdlib>
#include <cstring>
#include <mutex>

typedef struct dn_choice {
    int32_t of[16]; /* geometry, images, groups, filters, device, pass */
    int algorithm;
    struct dn_choice *next;
} dn_choice;

static std::mutex mutex;
static dn_choice *choices;

static void fill(const dn_conv_args *args, int device, int pass, int32_t *of)
{
    const dn_conv_geometry *g = &args->geometry;
    const int32_t all[16] = {g->c,          g->h,        g->w,         g->size,
                             g->stride_x,   g->stride_y, g->pad,       g->dilation,
                             g->out_h,      g->out_w,    args->images, args->groups,
                             args->filters, device,      pass,         dn_cudnn_by_rules()};
    memcpy(of, all, sizeof all);
}

bool dn_cudnn_by_rules(void)
{
    const char *asked = getenv("DARKNET_CUDNN");
    return asked && strcmp(asked, "rules") == 0;
}

bool dn_cudnn_recall(const dn_conv_args *args, int device, int pass, int *algorithm)
{
    int32_t of[16];
    fill(args, device, pass, of);
    const std::lock_guard<std::mutex> lock(mutex);
    for (const dn_choice *choice = choices; choice; choice = choice->next) {
        if (memcmp(choice->of, of, sizeof of) == 0) {
            *algorithm = choice->algorithm;
            return true;
        }
    }
    return false;
}

void dn_cudnn_keep(const dn_conv_args *args, int device, int pass, int algorithm)
{
    dn_choice *made = (dn_choice *)malloc(sizeof *made);
    if (!made) return;
    fill(args, device, pass, made->of);
    made->algorithm = algorithm;
    const std::lock_guard<std::mutex> lock(mutex);
    made->next = choices;
    choices = made;
}
