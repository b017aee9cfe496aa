/* `darknet detector test`, `segmenter test`: finds objects, prints Darknet's lines, draws them.
 *
 * Images come from the command line, or one a line from standard input. -out x.json writes all
 * results as JSON; -out NAME names the picture (default predictions.jpg; with several images
 * NAME_1.jpg, NAME_2.jpg, ...; from standard input NAME.jpg, NAME_2.jpg, ...). -ext_output adds
 * pixels, -save_labels writes label rows.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/image_paths.h"
#include "cli/names.h"
#include "cli/open_network.h"
#include "cli/output.h"
#include "cli/overlay.h"
#include "cli/result_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file that -save_labels has written. */
typedef struct dn_label_file {
    struct dn_label_file *next;
    char name[DN_PATH_SIZE];
    char image[DN_PATH_SIZE];
} dn_label_file;

typedef struct dn_test {
    dn_network *network;
    dn_predict_options predict;
    char **names;
    FILE *json;
    const char *picture; /* base name */
    bool ext_output, save_labels, dont_draw;
    bool several; /* images on the command line */
    int64_t done, failed;
    dn_label_file *labels; /* written so far, last first */
} dn_test;

static void print_instance(const dn_test *test, const dn_instance *instance)
{
    const dn_box *box = &instance->box;
    printf("%s: %.0f%%", test->names[instance->class_id], (double)(100 * instance->score));
    if (test->ext_output)
        printf("\t(left_x: %4.0f   top_y: %4.0f   width: %4.0f   height: %4.0f)", (double)box->x0,
               (double)box->y0, (double)(box->x1 - box->x0), (double)(box->y1 - box->y0));
    printf("\n");
}

/* The image whose labels this run has written to `name`; NULL: none. */
static const char *owner_of(const dn_test *test, const char *name)
{
    for (const dn_label_file *file = test->labels; file; file = file->next)
        if (strcmp(file->name, name) == 0) return file->image;
    return NULL;
}

/* The image's name with .txt, or with a number where another image of this run has that: a.jpg and
 * a.png do not share a.txt. */
static const char *label_name(dn_test *test, const char *image)
{
    dn_label_file *file = calloc(1, sizeof *file);
    if (!file) dn_die("out of memory");
    const char *dot = strrchr(image, '.'), *slash = strrchr(image, '/'), *owner = NULL;
    const size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - image) : strlen(image);
    snprintf(file->name, sizeof file->name, "%.*s.txt", (int)stem, image);
    for (int n = 2; (owner = owner_of(test, file->name)) && strcmp(owner, image) != 0; n++)
        snprintf(file->name, sizeof file->name, "%.*s_%d.txt", (int)stem, image, n);
    snprintf(file->image, sizeof file->image, "%s", image);
    file->next = test->labels;
    test->labels = file;
    return file->name;
}

static void save_labels(const dn_result *result, const char *name)
{
    FILE *file = dn_open_output(name);
    for (int32_t i = 0; i < result->instance_count; i++) {
        const dn_instance *instance = &result->instances[i];
        const dn_box *box = &instance->box;
        fprintf(file, "%d %.4f %.4f %.4f %.4f\n", instance->class_id,
                (double)(box->x0 + box->x1) / 2 / result->width,
                (double)(box->y0 + box->y1) / 2 / result->height,
                (double)(box->x1 - box->x0) / result->width,
                (double)(box->y1 - box->y0) / result->height);
    }
    dn_close_output(file, name);
}

static void save_picture(const dn_test *test, dn_image *image, const dn_result *result)
{
    char name[DN_PATH_SIZE];
    if (test->several || test->done > 1)
        snprintf(name, sizeof name, "%s_%lld.jpg", test->picture, (long long)test->done);
    else
        snprintf(name, sizeof name, "%s.jpg", test->picture);
    dn_must(dn_draw_result(image, result, dn_network_classes(test->network)));
    dn_must(dn_image_save(name, image));
    fprintf(stderr, "Picture: %s\n", name);
}

/* One image; a file that cannot be read is told and counted, the others go on. */
static void run(void *context, const char *path)
{
    dn_test *test = context;
    dn_image image;
    dn_result *result = NULL;
    if (dn_image_load(path, &image) != DN_OK) {
        fprintf(stderr, "%s\n", dn_error_message());
        test->failed++;
        return;
    }
    dn_must(dn_network_predict(test->network, &image, &test->predict, &result));
    test->done++;
    printf("%s: Predicted in %f milli-seconds.\n", path,
           result->preprocess_ms + result->network_ms + result->postprocess_ms);
    for (int32_t i = 0; i < result->instance_count; i++)
        print_instance(test, &result->instances[i]);
    if (test->json) dn_json_image(test->json, result, path, test->done, test->names);
    if (test->save_labels) save_labels(result, label_name(test, path));
    if (!test->dont_draw) save_picture(test, &image, result);
    dn_result_free(result);
    dn_image_free(&image);
}

static void take_options(dn_arguments *arguments, dn_test *test, const char **names,
                         const char **out)
{
    test->predict.threshold = dn_take_share(arguments, "-thresh", .25f);
    test->predict.nms = dn_take_share(arguments, "-nms", .45f);
    if (dn_take_flag(arguments, "-stretch")) test->predict.fit = DN_FIT_STRETCH;
    test->ext_output = dn_take_flag(arguments, "-ext_output");
    test->save_labels = dn_take_flag(arguments, "-save_labels");
    test->dont_draw = dn_take_flag(arguments, "-dont_draw");
    dn_take_flag(arguments, "-dont_show");
    dn_take_flag(arguments, "-letter_box");
    dn_take_text(arguments, "-hier", NULL);
    *names = dn_take_text(arguments, "-names", NULL);
    *out = dn_take_text(arguments, "-out", NULL);
}

static void open_output(dn_test *test, const char *out)
{
    const size_t length = out ? strlen(out) : 0;
    test->picture = "predictions";
    if (length > 5 && strcmp(out + length - 5, ".json") == 0) {
        test->json = dn_open_output(out);
        fprintf(test->json, "[\n");
    } else if (out) {
        test->picture = out;
    }
}

int dn_command_test(dn_arguments *arguments)
{
    dn_test test = {0};
    const char *names, *out;
    take_options(arguments, &test, &names, &out);
    const dn_common_arguments common = dn_take_common(arguments);
    dn_take_files(arguments);
    if (!arguments->weights) dn_die("a weights file is missing");
    dn_data_file *data = NULL;
    if (!names) {
        data = dn_open_data_file(arguments);
        names = data->names;
    }
    test.network = dn_open_network(arguments, &common, 1);
    test.names = dn_open_names(names, dn_must_have_head(test.network, arguments->cfg));
    open_output(&test, out);
    test.several = arguments->count > 1;
    dn_each_image(arguments, run, &test);
    if (test.json) {
        fprintf(test.json, "\n]\n");
        dn_close_output(test.json, out);
    }
    for (dn_label_file *next; test.labels; test.labels = next) {
        next = test.labels->next;
        free(test.labels);
    }
    dn_free_names(test.names);
    dn_network_free(test.network);
    dn_data_file_free(data);
    return test.failed > 0 ? 1 : 0;
}
