/* `darknet detector calc_anchors [data]`: Darknet's command: anchors for the boxes of the training
 * set, and how many objects each class has.
 *
 * Prints Darknet's lines, and writes anchors.txt and counters_per_class.txt. Boxes are measured in
 * the network's input as the image lies in it: letterboxed, or with -stretch as AlexeyAB's Darknet
 * measures them. Crowds are no boxes. For YOLOv2, whose anchors are in cells, give the size of its
 * last layer: -width 13 -height 13; below 64 four decimals are printed.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/open_network.h"
#include "cli/output.h"
#include "data/anchors.h"

#include <stdio.h>
#include <stdlib.h>

enum { DN_CLUSTERS_MAX = 1000, DN_SIDE = 416, DN_CELLS = 64 };

/* The size of a labelled box in the network's input. */
static dn_size measure(const dn_dataset_object *object, const dn_letterbox *letterbox)
{
    const float width = (float)letterbox->image_w, height = (float)letterbox->image_h;
    const dn_box box =
        dn_box_clip(dn_dataset_box(object, letterbox->image_w, letterbox->image_h), width, height);
    return (dn_size){(double)(box.x1 - box.x0) * letterbox->new_w / letterbox->image_w,
                     (double)(box.y1 - box.y0) * letterbox->new_h / letterbox->image_h};
}

/* Fills boxes and counters; returns the number of boxes. */
static int64_t collect(const dn_dataset_view *view, int32_t width, int32_t height, bool stretch,
                       dn_size *boxes, int64_t *counters)
{
    int64_t count = 0;
    for (int64_t i = 0; i < view->image_count; i++) {
        const dn_dataset_image *image = &view->images[i];
        int32_t image_w = image->width, image_h = image->height;
        if (image->object_count == 0) continue;
        if ((image_w < 1 || image_h < 1) &&
            dn_image_size(image->path, &image_w, &image_h) != DN_OK) {
            fprintf(stderr, "skipped: %s\n", dn_error_message());
            continue;
        }
        const dn_letterbox letterbox = dn_letterbox_make(image_w, image_h, width, height, stretch);
        for (int64_t k = 0; k < image->object_count; k++) {
            const dn_dataset_object *object = &view->objects[image->first_object + k];
            const dn_size size = measure(object, &letterbox);
            if (object->crowd || !(size.width > 0.0 && size.height > 0.0)) continue;
            counters[object->class_id]++;
            boxes[count++] = size;
        }
    }
    return count;
}

static void write_anchors(FILE *file, const dn_size *anchors, int32_t count, int32_t width)
{
    for (int32_t i = 0; i < count; i++) {
        if (i > 0) fputs(", ", file);
        if (width < DN_CELLS)
            fprintf(file, "%.4f,%.4f", anchors[i].width, anchors[i].height);
        else
            fprintf(file, "%3.0f,%3.0f", anchors[i].width, anchors[i].height);
    }
}

static void write_counters(FILE *file, const int64_t *counters, int32_t count)
{
    fprintf(file, "counters_per_class = ");
    for (int32_t i = 0; i < count; i++)
        fprintf(file, "%s%lld", i ? ", " : "", (long long)counters[i]);
    fputc('\n', file);
}

static void save(const dn_size *anchors, int32_t count, int32_t width, const int64_t *counters,
                 int32_t classes)
{
    static const char anchors_path[] = "anchors.txt", counters_path[] = "counters_per_class.txt";
    FILE *file = dn_open_output(counters_path);
    write_counters(file, counters, classes);
    dn_close_output(file, counters_path);
    printf("Saving anchors to the file: %s \n", anchors_path);
    file = dn_open_output(anchors_path);
    write_anchors(file, anchors, count, width);
    fputc('\n', file);
    dn_close_output(file, anchors_path);
}

int dn_command_calc_anchors(dn_arguments *arguments)
{
    const dn_common_arguments common = dn_take_common(arguments);
    const int32_t count =
        (int32_t)dn_take_int(arguments, "-num_of_clusters", 5, 1, DN_CLUSTERS_MAX);
    const bool stretch = dn_take_flag(arguments, "-stretch");
    dn_take_flag(arguments, "-show");
    dn_take_files(arguments);
    dn_end_of_operands(arguments);
    const int32_t width = common.width > 0 ? common.width : DN_SIDE;
    const int32_t height = common.height > 0 ? common.height : DN_SIDE;
    dn_data_file *data = dn_open_data_file(arguments);
    dn_dataset *dataset = dn_open_data_set(data, DN_DATA_TRAIN, common.strict);
    const dn_dataset_view *view = dn_dataset_get(dataset);
    printf("\n num_of_clusters = %d, width = %d, height = %d \n read labels from %lld images \n",
           (int)count, (int)width, (int)height, (long long)view->image_count);

    dn_size *boxes = calloc((size_t)view->object_count + 1, sizeof *boxes);
    int64_t *counters = calloc((size_t)view->class_count + 1, sizeof *counters);
    dn_size *anchors = calloc((size_t)count, sizeof *anchors);
    if (!boxes || !counters || !anchors) dn_die("out of memory");
    const int64_t box_count = collect(view, width, height, stretch, boxes, counters);
    printf(" loaded \t image: %lld \t box: %lld\n all loaded. \n\n calculating k-means++ ...\n",
           (long long)view->image_count, (long long)box_count);
    double average;
    dn_must(dn_anchors_find(boxes, box_count, count, common.seed, anchors, &average));
    printf("\n");
    write_counters(stdout, counters, view->class_count);
    printf("\n avg IoU = %2.2f %% \n\n", 100.0 * average);
    save(anchors, count, width, counters, view->class_count);
    printf("anchors = ");
    write_anchors(stdout, anchors, count, width);
    printf("\n");
    free(boxes);
    free(counters);
    free(anchors);
    dn_dataset_free(dataset);
    dn_data_file_free(data);
    return 0;
}
