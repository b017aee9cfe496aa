/* From an image to its classes: see darknet.h.
 *
 * The answer is the last layer's output as it is. The best classes are chosen one after the other,
 * which is quick for the few that anybody asks for.
 */
#include "infer/input.h"

#include "core/host.h"
#include "infer/forward.h"

static dn_status check(const dn_network *network, int32_t count)
{
    if (!dn_network_is_classifier(network))
        return dn_fail(DN_ERROR_ARGUMENT,
                       "%s: is no classifier: it has heads, or does not end with [softmax], "
                       "[logistic] or [cost]",
                       network->cfg->name);
    const int32_t classes = dn_network_classes(network);
    if (count >= 1 && count <= classes) return DN_OK;
    return dn_fail(DN_ERROR_ARGUMENT, "the best %d classes: %s has %d", count, network->cfg->name,
                   classes);
}

/* Whether class a stands before class b. A score that is not a number stands behind all others. */
static bool is_better(const float *scores, int32_t a, int32_t b)
{
    const bool a_counts = scores[a] == scores[a], b_counts = scores[b] == scores[b];
    if (a_counts != b_counts) return a_counts;
    if (a_counts && scores[a] != scores[b]) return scores[a] > scores[b];
    return a < b;
}

static void choose(const float *scores, int32_t classes, int32_t count, dn_class_score *out)
{
    for (int32_t k = 0; k < count; k++) {
        int32_t best = -1;
        for (int32_t i = 0; i < classes; i++) {
            if (k > 0 && !is_better(scores, out[k - 1].class_id, i)) continue; /* chosen before */
            if (best < 0 || is_better(scores, i, best)) best = i;
        }
        out[k] = (dn_class_score){best, scores[best]};
    }
}

dn_status dn_network_classify(dn_network *network, const dn_image *image, dn_fit fit, int32_t count,
                              dn_class_score *out)
{
    DN_TRY(check(network, count));
    DN_TRY(dn_input_set(network, image, 1, &(dn_predict_options){.fit = fit}));
    dn_pass pass = {.batch = 1, .nms = -1.0f};
    DN_TRY(dn_infer(network, &pass));
    const float *scores;
    DN_TRY(dn_host_output(&network->layers[network->layer_count - 1], &network->pass, &scores));
    choose(scores, dn_network_classes(network), count, out);
    return DN_OK;
}
