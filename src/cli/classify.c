/* `darknet classifier predict` and `classifier valid`.
 *
 * predict prints Darknet's lines, "NN.NN%: name", for the best classes of each image; valid runs
 * through the data file's valid set and prints "N: top 1: x, top k: y", the shares of the N images
 * so far whose class is the best, or among the k best. k is the data file's `top` or -t. Images
 * fill the network's input and what sticks out is cut off; -letter_box and -stretch show them
 * whole.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/image_paths.h"
#include "cli/names.h"
#include "cli/open_network.h"
#include "math/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct dn_classify {
    dn_data_file *data;
    dn_network *network;
    dn_fit fit;
    int32_t top;
    dn_class_score *best; /* (top) */
    char **names;
    bool strict;
    int64_t failed;
} dn_classify;

static dn_fit take_fit(dn_arguments *arguments)
{
    const bool whole = dn_take_flag(arguments, "-letter_box");
    const bool stretch = dn_take_flag(arguments, "-stretch");
    return stretch ? DN_FIT_STRETCH : whole ? DN_FIT_LETTERBOX : DN_FIT_CROP;
}

static dn_classify open_classifier(dn_arguments *arguments)
{
    dn_classify classify = {.fit = take_fit(arguments)};
    const int64_t top = dn_take_int(arguments, "-t", 0, 1, INT32_MAX);
    const char *names = dn_take_text(arguments, "-names", NULL);
    const dn_common_arguments common = dn_take_common(arguments);
    dn_take_files(arguments);
    if (!arguments->weights) dn_die("a weights file is missing");
    classify.data = dn_open_data_file(arguments);
    classify.strict = common.strict;
    classify.network = dn_open_network(arguments, &common, 1);
    if (!dn_network_is_classifier(classify.network))
        dn_die("%s: is no classifier: it has heads, or does not end with [softmax], [logistic] or "
               "[cost]",
               arguments->cfg);
    const int32_t classes = dn_network_classes(classify.network);
    classify.top = top > 0 ? (int32_t)(top < classes ? top : classes) : classify.data->top;
    if (classify.top < 1) classify.top = 1;
    if (classify.top > classes) classify.top = classes;
    classify.best = calloc((size_t)classify.top, sizeof *classify.best);
    if (!classify.best) dn_die("out of memory");
    if (!names) names = classify.data->names ? classify.data->names : classify.data->labels;
    classify.names = dn_open_first_names(names, classes);
    return classify;
}

static void close_classifier(const dn_classify *classify)
{
    dn_free_names(classify->names);
    free(classify->best);
    dn_network_free(classify->network);
    dn_data_file_free(classify->data);
}

/* A file that cannot be read is told and counted, the others go on. */
static void predict(void *context, const char *path)
{
    dn_classify *classify = context;
    const double start = dn_now();
    dn_image image;
    if (dn_image_load(path, &image) != DN_OK) {
        fprintf(stderr, "%s\n", dn_error_message());
        classify->failed++;
        return;
    }
    dn_must(dn_network_classify(classify->network, &image, classify->fit, classify->top,
                                classify->best));
    dn_image_free(&image);
    printf("%s: Predicted in %f milli-seconds.\n", path, (dn_now() - start) * 1e3);
    for (int32_t i = 0; i < classify->top; i++)
        printf("%5.2f%%: %s\n", (double)(100 * classify->best[i].score),
               classify->names[classify->best[i].class_id]);
}

int dn_command_predict(dn_arguments *arguments)
{
    dn_classify classify = open_classifier(arguments);
    dn_each_image(arguments, predict, &classify);
    close_classifier(&classify);
    return classify.failed > 0 ? 1 : 0;
}

static void print_so_far(void *context, const dn_class_accuracy *so_far)
{
    const dn_classify *classify = context;
    const bool terminal = isatty(STDOUT_FILENO) == 1;
    const double images = (double)so_far->images;
    printf("%s%lld: top 1: %f, top %d: %f%s", terminal ? "\r\033[K" : "", (long long)so_far->images,
           (double)so_far->first / images, classify->top, (double)so_far->among / images,
           terminal ? "" : "\n");
    if (terminal) fflush(stdout);
}

int dn_command_valid_classes(dn_arguments *arguments)
{
    dn_classify classify = open_classifier(arguments);
    dn_end_of_operands(arguments);
    dn_dataset *dataset = dn_open_class_set(classify.data, DN_DATA_VALID, classify.strict);
    const dn_class_validate_options options = {
        .fit = classify.fit,
        .top = classify.top,
        .strict = classify.strict,
        .context = &classify,
        .progress = print_so_far,
        .message = dn_print_warning,
    };
    dn_class_accuracy accuracy;
    dn_must(dn_validate_classes(classify.network, dataset, &options, &accuracy));
    if (isatty(STDOUT_FILENO) == 1) printf("\n");
    dn_dataset_free(dataset);
    close_classifier(&classify);
    return accuracy.skipped > 0 ? 1 : 0;
}
