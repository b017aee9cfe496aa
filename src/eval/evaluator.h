/* Evaluation: what the files of src/eval share.
 *
 * An image is compared as soon as it is added: overlap, COCO's matching at ten IoUs and four sizes,
 * Darknet's matching, the pairs of the confusion matrix (compare.c, matching.c, confusion.c). Of
 * each detection a dn_found stays, of the truths counts; masks are not kept. dn_evaluator_run sorts
 * what was found by class and score and makes figures of it (accumulate.c, f1.c, darknet_map.c).
 *
 * Sources: cocodataset.org, "Detection Evaluation"; pycocotools' behaviour, seen through its Python
 * interface; Darknet's report. docs/evaluation.md tells the rules.
 */
#ifndef DN_EVAL_EVALUATOR_H
#define DN_EVAL_EVALUATOR_H

#include "core/status.h"

enum {
    DN_IOUS = 10,     /* .50, .55, ..., .95 */
    DN_RECALLS = 101, /* 0, .01, ..., 1 */
    DN_AREAS = 4,     /* all, small, medium, large */
    DN_F1_IOUS = 2,
    DN_IOU_50 = 0,
    DN_IOU_75 = 5,
    DN_NO_TRUTH = -1,   /* owner: overlaps no truth of its class enough */
    DN_CROWD_ONLY = -2, /* owner: only a region to ignore */
};

/* COCO's thresholds, with the bits of numpy.linspace, and the ends of its ranges of area. */
double dn_eval_iou(int32_t index);
double dn_eval_recall(int32_t index);
extern const double dn_eval_areas[DN_AREAS][2];

/* A detection that was compared. Bit t of a set belongs to IoU t. */
typedef struct dn_found {
    double score;
    double owner_iou;
    int64_t owner;    /* Darknet's matching: number of the truth, DN_NO_TRUTH or DN_CROWD_ONLY */
    int32_t class_id; /* 0 where classes do not count */
    int32_t rank;     /* among its class in its image, from 0 */
    uint16_t matched[DN_AREAS];
    uint16_t ignored[DN_AREAS];
    uint16_t hit; /* matched a truth of any size, whatever its id */
} dn_found;

typedef struct dn_pair {
    int32_t truth, detection; /* classes; class_count: none */
} dn_pair;

/* What stays of an image. The found stand by class, then by falling score. */
typedef struct dn_compared {
    int64_t id;
    dn_found *found[DN_KINDS];
    int64_t found_count[DN_KINDS];
    dn_pair *pairs[DN_KINDS]; /* until they are counted */
    int64_t pair_count[DN_KINDS];
} dn_compared;

struct dn_evaluator {
    dn_evaluator_options options; /* defaults filled in; texts and arrays are copies */
    char **names;                 /* (class_count) */
    int64_t *class_ranks;         /* (options.class_count): order of the classes in ties */
    int32_t class_count;          /* of the results: 1 where classes do not count */
    dn_compared *images;
    int64_t image_count, image_capacity;
    int64_t owner_count;          /* truths so far */
    int64_t (*truths)[DN_AREAS];  /* (class_count): how many count */
    int64_t *confusion[DN_KINDS]; /* (class_count + 1, class_count + 1) */
    bool warned_of_zero;
};

static inline int32_t dn_eval_class(const dn_evaluator *evaluator, int32_t class_id)
{
    return evaluator->options.class_agnostic ? 0 : class_id;
}

static inline int32_t dn_eval_kinds(const dn_evaluator *evaluator)
{
    return evaluator->options.masks ? DN_KINDS : DN_MASKS;
}

/* ---- one image ---- */

/* Where an object lies: its box or, of a mask, the box of its pixels, for a first look. */
typedef struct dn_shape {
    double x, y, w, h, area;
    const dn_rle *mask; /* NULL: boxes are compared */
} dn_shape;

dn_shape dn_eval_shape(const double bbox[4], const dn_rle *mask);

/* COCO's overlap: intersection over union; over the detection's area for a crowd. */
double dn_eval_overlap(const dn_shape *detection, const dn_shape *truth, bool crowd);

/* An image, ready to be compared in one kind. */
typedef struct dn_scene {
    const dn_evaluator *evaluator;
    const dn_eval_truth *truths;         /* (truth_count) */
    const dn_eval_detection *detections; /* (detection_count) */
    const dn_shape *truth_shapes, *detection_shapes;
    int64_t truth_count, detection_count;
} dn_scene;

/* Truths and detections of one class of a scene, as indices: detections by falling score, at most
 * max_detections, truths in their order. */
typedef struct dn_group {
    const int64_t *truths, *detections;
    int64_t truth_count, detection_count;
} dn_group;

/* Fills found (detection_count), all but the owner's numbers being of the whole evaluation: owner
 * is an index among the scene's truths. */
dn_status dn_match_group(const dn_scene *scene, const dn_group *group, dn_found *found);

/* Pairs of classes at score_threshold and iou_threshold; *pairs is freed with dn_free. */
dn_status dn_pair_classes(const dn_scene *scene, dn_pair **pairs, int64_t *count);

/* Compares an image in all kinds. Threads may run it at once. */
dn_status dn_compare_image(const dn_evaluator *evaluator, const dn_eval_image *image,
                           dn_compared *out);
void dn_compared_free(dn_compared *compared);

/* ---- all images ---- */

/* A detection in the order of its class's scores. */
typedef struct dn_entry {
    double score;
    int64_t order; /* decides ties */
    const dn_found *found;
} dn_entry;

/* By falling score, then in order. */
void dn_sort_entries(dn_entry *entries, int64_t count);

/* COCO's figures of one class: its detections in order, the truths that count in each range of
 * area. precision: (DN_IOUS, DN_RECALLS). */
dn_status dn_accumulate_class(const dn_entry *entries, int64_t count,
                              const int64_t truths[DN_AREAS], double *precision,
                              double numbers[DN_NUMBERS]);

/* F1 of the entries at `threshold`, and the best that any threshold gives. */
void dn_f1_of_entries(const dn_entry *entries, int64_t count, int64_t truths, int32_t iou,
                      double threshold, dn_f1 *at_threshold, dn_f1 *best);

/* Precision, recall and F1 from the counts. */
void dn_f1_shares(dn_f1 *f1);

/* Darknet's figures of one class, counts.precision, .recall, .f1 not yet; average_iou is the sum so
 * far. owners: (owner_count) marks, those of this class still 0. */
dn_status dn_darknet_of_entries(const dn_evaluator *evaluator, const dn_entry *entries,
                                int64_t count, int64_t truths, uint8_t *owners,
                                dn_darknet_map *out);

/* ---- data sets ---- */

/* The truths of an image of a data set, with their masks if wanted. */
typedef struct dn_truth_list {
    dn_eval_truth *truths;
    dn_rle *masks;
    int64_t count;
} dn_truth_list;

dn_status dn_truths_of_image(const dn_dataset *dataset, int64_t image, int32_t width,
                             int32_t height, bool masks, dn_truth_list *out);
void dn_truth_list_free(dn_truth_list *list);

/* ---- the outcome ---- */

struct dn_evaluation {
    dn_evaluation_info info;
    char **names;
    dn_metrics *metrics[DN_KINDS]; /* (class_count + 1), the last: of all; NULL: not compared */
    double *precision[DN_KINDS];   /* (class_count, DN_IOUS, DN_RECALLS) */
    int64_t *confusion[DN_KINDS];
};

/* Names of the kinds and of the twelve numbers, as files and tables have them. */
extern const char *const dn_kind_names[DN_KINDS];
extern const char *const dn_number_names[DN_NUMBERS];

#endif
