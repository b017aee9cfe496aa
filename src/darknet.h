/* YOLO-Mask's public C API: the only installed header.
 *
 * Conventions. Functions that can fail return dn_status and leave their outputs untouched on
 * failure; dn_error_message() then holds one sentence for this thread. Handles are freed by the
 * function named at their creator. Images are interleaved 8-bit RGB; boxes are continuous pixel
 * coordinates (pixel i covers [i, i+1)). The definitions between the cffi marks are read by the
 * Python package as they stand: plain C declarations only (DN_API is removed).
 */
#ifndef DARKNET_H
#define DARKNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DN_API __attribute__((visibility("default")))
#else
#define DN_API
#endif

/* cffi: begin */

/* Changes whenever a declaration below does in a way that an old caller would misread. */
enum { DN_ABI_VERSION = 7 };
DN_API int dn_abi_version(void); /* what the library was built with */

typedef enum dn_status {
    DN_OK = 0,
    DN_ERROR_CONFIG,    /* a .cfg, .data or option that makes no sense */
    DN_ERROR_WEIGHTS,   /* a weights file that is damaged or does not fit */
    DN_ERROR_DATA,      /* an image, label, list or JSON that cannot be used */
    DN_ERROR_IO,        /* the operating system refused: open, read, write, rename */
    DN_ERROR_MEMORY,    /* out of memory */
    DN_ERROR_DEVICE,    /* a GPU or its libraries */
    DN_ERROR_ARGUMENT,  /* the caller's mistake */
    DN_ERROR_CANCELLED, /* the caller's cancel callback asked to stop */
} dn_status;

/* The calling thread's last failure in one sentence; valid until its next failure. */
DN_API const char *dn_error_message(void);

/* Frees a plain array that the library handed out; NULL is allowed. */
DN_API void dn_buffer_free(void *buffer);

/* Tests only: the n-th allocation from now (0: the next) fails once; negative: none. */
DN_API void dn_test_fail_allocation(long n);

/* Tests only: lowers the instruction set in use to "plain", "avx2", "avx512", ... (math/cpu.h);
 * false where this machine lacks it. Not while a network exists. */
DN_API bool dn_test_isa(const char *name);

typedef struct dn_test_gemm_args {
    bool trans_a, trans_b;
    int32_t m, n, k, lda, ldb, ldc, threads;
    float alpha, beta;
} dn_test_gemm_args;

/* Tests only: the matrix product of src/math/gemm.h; the seconds it took, or -1 when there is no
 * memory. */
DN_API double dn_test_gemm(const dn_test_gemm_args *args, const float *a, const float *b, float *c);

typedef struct dn_test_conv_args {
    int32_t images, groups, filters, c, h, w; /* filters and c: of one group */
    int32_t size, stride_x, stride_y, pad, dilation, out_h, out_w;
    const char *activation; /* its name in a cfg */
    bool packed;            /* pack the weights first, outside the time */
    int32_t threads;
} dn_test_conv_args;

/* Tests only: the forward convolution of src/math/conv.h; scale and shift may be NULL. As
 * dn_test_gemm. */
DN_API double dn_test_conv(const dn_test_conv_args *args, const float *in, const float *weights,
                           const float *scale, const float *shift, float *out);

/* Tests only: the gradients of src/math/conv_backward.h, added to grad_weights and grad_in, either
 * of which may be NULL; activation and packed are not looked at. */
DN_API double dn_test_conv_backward(const dn_test_conv_args *args, const float *in,
                                    const float *weights, const float *grad_out,
                                    float *grad_weights, float *grad_in);

typedef struct dn_test_conv_form_args {
    dn_test_conv_args conv; /* packed is not looked at */
    bool planar_in, planar_out, adds;
    const char *after_add; /* the activation behind the addition */
    bool exact;            /* where the form is chosen: without Winograd */
    int32_t rounds;        /* at least 1 */
    float in_scale;        /* for int8: x is about in_scale * (q - in_zero) */
    int32_t in_zero;
} dn_test_conv_form_args;

/* Tests only: a convolution by the form of that name (NULL: the one that the inference plan would
 * choose) on blocked tensors; all arrays planar, factor may be NULL. The seconds of the fastest
 * round; -1 when there is no memory, -2 where the form does not exist or does not fit. */
DN_API double dn_test_conv_form(const dn_test_conv_form_args *args, const char *name,
                                const float *in, const float *weights, const float *factor,
                                const float *shift, const float *add, float *out);

/* Tests only: the names of the forms of the instruction set in use; NULL past the end. */
DN_API const char *dn_test_conv_form_name(int32_t index);

/* Tests only: y = f(x) and gradient = f'(x) for `count` values; `activation` as above. */
DN_API void dn_test_activation(const char *activation, const float *x, float *y, float *gradient,
                               int64_t count);

/* A box by its corners, in continuous pixel coordinates unless said otherwise. */
typedef struct dn_box {
    float x0, y0, x1, y1;
} dn_box;

/* ---- Geometry ----
 * Coordinates are continuous: pixel i covers [i, i+1). */

/* How an image lies in a network's input: scaled to new_w x new_h, at (pad_x, pad_y). */
typedef struct dn_letterbox {
    int32_t image_w, image_h;
    int32_t net_w, net_h;
    int32_t new_w, new_h;
    int32_t pad_x, pad_y;
} dn_letterbox;

/* An axis-aligned map: image_x = scale_x * net_x + offset_x, y alike. A negative scale mirrors. */
typedef struct dn_affine {
    float scale_x, scale_y;
    float offset_x, offset_y;
} dn_affine;

/* Darknet's letterbox, or the whole input where `stretch`. Sizes below 1 count as 1. */
DN_API dn_letterbox dn_letterbox_make(int32_t image_w, int32_t image_h, int32_t net_w,
                                      int32_t net_h, bool stretch);

/* The opposite: the input is covered and what does not fit is cut off, equally at both sides, so
 * that pads are 0 or negative. For a square input it is Darknet's centre crop of classifiers. */
DN_API dn_letterbox dn_letterbox_crop(int32_t image_w, int32_t image_h, int32_t net_w,
                                      int32_t net_h);
DN_API dn_box dn_letterbox_to_net(const dn_letterbox *letterbox, dn_box image_box);
DN_API dn_box dn_letterbox_to_image(const dn_letterbox *letterbox, dn_box net_box);

/* The letterbox as a map; the map that takes rectangle `net` to rectangle `image` (neither empty);
 * the map behind a mirrored input of that width (x) or height (y). */
DN_API dn_affine dn_affine_from_letterbox(const dn_letterbox *letterbox);
DN_API dn_affine dn_affine_between(dn_box net, dn_box image);
DN_API dn_affine dn_affine_flip_x(dn_affine affine, int32_t net_w);
DN_API dn_affine dn_affine_flip_y(dn_affine affine, int32_t net_h);
DN_API dn_box dn_affine_to_image(const dn_affine *affine, dn_box net_box);
DN_API dn_box dn_affine_to_net(const dn_affine *affine, dn_box image_box);

/* Area and overlap; an empty box has area 0 and overlaps nothing. giou, diou and ciou are the
 * similarities (IoU minus the penalty) that Darknet's metrics and NMS use: diou's penalty is
 * (d^2 / c^2)^beta with d the distance of the centres and c the diagonal of the box around both
 * (Darknet's beta: .6), ciou's is d^2 / c^2 + alpha v. */
DN_API float dn_box_area(dn_box box);
DN_API float dn_box_iou(dn_box a, dn_box b);
DN_API float dn_box_giou(dn_box a, dn_box b);
DN_API float dn_box_diou(dn_box a, dn_box b, float beta);
DN_API float dn_box_ciou(dn_box a, dn_box b);

/* The part inside [0, width] x [0, height]; outside it an empty box on the border. */
DN_API dn_box dn_box_clip(dn_box box, float width, float height);

/* Enlarged about its centre: w' = w (1 + amount), h alike. */
DN_API dn_box dn_box_expand(dn_box box, float amount);

/* ---- Images ----
 * Interleaved 8-bit RGB. JPEG, PNG and PPM files are recognised by their content; EXIF's
 * orientation is applied; gray is replicated, alpha dropped, 16 bits cut to 8. Sides up to 65,535
 * and 2^28 pixels. */
typedef struct dn_image {
    int32_t width, height;
    uint8_t *data; /* (height, width, 3) */
} dn_image;

/* Decodes a file, or the bytes of one that errors call `name`. Freed with dn_image_free. */
DN_API dn_status dn_image_load(const char *path, dn_image *out);
DN_API dn_status dn_image_load_memory(const void *bytes, size_t size, const char *name,
                                      dn_image *out);
DN_API void dn_image_free(dn_image *image); /* clears the struct; NULL is allowed */

/* The size that dn_image_load would give, from the file's headers alone. */
DN_API dn_status dn_image_size(const char *path, int32_t *width, int32_t *height);

/* Writes .png, or .jpg/.jpeg, through a temporary file that is renamed. */
DN_API dn_status dn_image_save(const char *path, const dn_image *image);

/* Reads a gray PNG of 8 or 16 bits, or the indices of a palette PNG, as (height, width) labels,
 * freed with dn_buffer_free. No orientation is applied: labels lie as they are stored. */
DN_API dn_status dn_label_png_load(const char *path, uint16_t **labels, int32_t *width,
                                   int32_t *height);

/* The network's input for an image: planar (3, net_h, net_w), 0..1, Darknet's resize (bilinear,
 * corners aligned) inside its letterbox, .5 around it. The letterbox is of this image's size. */
DN_API dn_status dn_image_to_input(const dn_image *image, const dn_letterbox *letterbox,
                                   int32_t threads, float *out);

/* The same through any map, for training: bilinear between pixel centres; where the image shrinks
 * by more than 2, averaged over an output pixel's footprint. Outside the image: `fill`.
 * out: planar (3, height, width). */
DN_API dn_status dn_image_sample(const dn_image *image, const dn_affine *affine, int32_t width,
                                 int32_t height, float fill, int32_t threads, float *out);

/* Colour change of a planar image (3, pixels) in 0..1, as Darknet's augmentation: hue is added
 * (in turns), saturation and value are multiplied, the result clamped to 0..1. */
DN_API void dn_image_hsv(float *image, int64_t pixels, float hue, float saturation, float exposure,
                         int32_t threads);

/* ---- Masks ----
 * The mask of an instance is a dn_rle at the size of the original image, in COCO's runs: column
 * after column, first a run of zeros (maybe 0), then ones and zeros in turn. Masks made here have
 * no other empty run, so equal masks have equal runs. The functions that make one write a struct of
 * the caller's, whose runs dn_rle_free frees; what it held before is overwritten, not freed. */
typedef struct dn_rle {
    int32_t height, width; /* of the image; height * width < 2^32 */
    int64_t run_count;
    uint32_t *runs; /* (run_count), their sum is height * width */
} dn_rle;

typedef enum dn_mask_order {
    DN_ROW_MAJOR,    /* (height, width) */
    DN_COLUMN_MAJOR, /* (width, height) */
} dn_mask_order;

typedef enum dn_mask_rule {
    DN_MASK_UNION,
    DN_MASK_INTERSECTION,
    DN_MASK_DIFFERENCE, /* the first without the others */
} dn_mask_rule;

/* Frees the runs and clears the struct; NULL is allowed. */
DN_API void dn_rle_free(dn_rle *rle);

/* Frees an array that dn_rles_from_labels made. */
DN_API void dn_rles_free(dn_rle *masks, int64_t count);

/* From COCO's runs, which must cover the image exactly. Also the way to copy a mask. */
DN_API dn_status dn_rle_from_runs(dn_rle *out, int32_t height, int32_t width, const uint32_t *runs,
                                  int64_t run_count);

/* From the runs of Darknet's mask files: row-major, zeros first; pixels after the last run take the
 * next value. */
DN_API dn_status dn_rle_from_row_runs(dn_rle *out, int32_t height, int32_t width,
                                      const uint32_t *runs, int64_t run_count);

/* From COCO's compressed "counts", NUL-terminated. */
DN_API dn_status dn_rle_from_string(dn_rle *out, int32_t height, int32_t width, const char *text);

/* From bytes: every value but 0 is inside. */
DN_API dn_status dn_rle_from_mask(dn_rle *out, const uint8_t *mask, int32_t height, int32_t width,
                                  dn_mask_order order);

/* The pixels of a label image, (height, width), that equal `value`. */
DN_API dn_status dn_rle_from_labels(dn_rle *out, const uint16_t *labels, int32_t height,
                                    int32_t width, uint16_t value);

/* One mask for every label but 0 that occurs, by ascending label: *out (freed with dn_rles_free)
 * and *values (freed with dn_buffer_free) get *count entries. */
DN_API dn_status dn_rles_from_labels(dn_rle **out, uint16_t **values, int64_t *count,
                                     const uint16_t *labels, int32_t height, int32_t width);

/* From the rings of one object, drawn as COCO's tool draws them and united. rings[i] holds
 * point_counts[i] >= 3 points x, y in pixels; they may leave the image. */
DN_API dn_status dn_rle_from_polygons(dn_rle *out, const double *const *rings,
                                      const int64_t *point_counts, int64_t ring_count,
                                      int32_t height, int32_t width);

/* COCO's compressed string. Returns its length without the final NUL; writes it, with the NUL,
 * where `text` is not NULL (ask for the length first). */
DN_API size_t dn_rle_string(const dn_rle *rle, char *text);

/* Fills mask, height * width bytes, with 0 and 1. */
DN_API void dn_rle_decode(const dn_rle *rle, uint8_t *mask, dn_mask_order order);

DN_API int64_t dn_rle_area(const dn_rle *rle);

/* box = x, y, width, height of the smallest box of whole pixels around the mask; all 0 if empty. */
DN_API void dn_rle_bounds(const dn_rle *rle, int32_t box[4]);

/* Union, intersection or difference of count >= 1 masks of one size. */
DN_API dn_status dn_rle_merge(dn_rle *out, const dn_rle *masks, int64_t count, dn_mask_rule rule);

/* Intersection over union, or over the detection's area where the truth is a crowd region. */
DN_API dn_status dn_rle_iou(double *out, const dn_rle *detection, const dn_rle *truth, bool crowd);

/* The same for all pairs: out is (detection_count, truth_count); crowd is (truth_count) or NULL. */
DN_API dn_status dn_rle_ious(double *out, const dn_rle *detections, int64_t detection_count,
                             const dn_rle *truths, int64_t truth_count, const uint8_t *crowd);

/* The largest side of a mask that a branch predicts. */
enum { DN_MASK_SIDE_MAX = 256 };

/* What a mask branch should answer for a RoI in network pixels: the share of each of its
 * size x size cells that the mask covers, `out` (size, size); not soft: 1 where that is at
 * least one half, else 0. Outside the image, and outside `visible` (network pixels; an empty box:
 * everywhere is visible), nothing is covered; an empty RoI gives zeros. */
DN_API dn_status dn_mask_target(const dn_rle *mask, const dn_affine *net_to_image, dn_box visible,
                                dn_box roi, int32_t size, bool soft, float *out);

/* The mask through a map, height x width pixels of it: a pixel is set where its centre lies in
 * `visible` (as above) and the map takes the centre into a set pixel of the mask. */
DN_API dn_status dn_rle_sample(dn_rle *out, const dn_rle *mask, const dn_affine *to_mask,
                               dn_box visible, int32_t height, int32_t width);

/* A branch's answer, mask (side, side) probabilities over a box in image pixels that may leave the
 * image, as a mask of the image: bilinear between cell centres, 0 outside the cells, set where it
 * reaches `threshold`, in (0, 1]. An empty box gives an empty mask. */
DN_API dn_status dn_mask_paste(dn_rle *out, const float *mask, int32_t side, dn_box box,
                               int32_t height, int32_t width, float threshold);

/* `count` such masks, (count, side, side), as COCO's strings: *text, freed with dn_buffer_free,
 * holds one after the other, each with its NUL, *length bytes in all. */
DN_API dn_status dn_masks_encode(char **text, size_t *length, const float *masks, int32_t side,
                                 const dn_box *boxes, int64_t count, int32_t height, int32_t width,
                                 float threshold);

/* dn_mask_paste as bytes 0 and 1: out is (height, width). */
DN_API dn_status dn_mask_paste_dense(uint8_t *out, const float *mask, int32_t side, dn_box box,
                                     int32_t height, int32_t width, float threshold);

/* Outlines along pixel edges, in pixel corners: clockwise on the screen, holes the other way. */
typedef struct dn_contours {
    int64_t ring_count;
    int64_t *starts;  /* (ring_count + 1): ring i has the points starts[i] .. starts[i + 1] - 1 */
    int32_t *parents; /* (ring_count): -1, or the ring whose hole this is */
    int32_t *points;  /* (starts[ring_count], 2): x, y */
} dn_contours;

typedef enum dn_contour_mode {
    DN_CONTOUR_RINGS,  /* every outline; holes are rings of their own */
    DN_CONTOUR_PARTS,  /* one ring a connected part, its holes joined to it by bridges */
    DN_CONTOUR_SINGLE, /* one ring in all, parts bridged too */
} dn_contour_mode;

/* The outlines of a mask, freed with dn_contours_free. Drawn again (DN_CONTOUR_PARTS and _SINGLE;
 * or by the even-odd rule) they give the same mask, or, with tolerance > 0, one whose outline was
 * simplified by up to that many pixels. An empty mask has no ring. */
DN_API dn_status dn_rle_contours(dn_contours *out, const dn_rle *mask, dn_contour_mode mode,
                                 double tolerance);
DN_API void dn_contours_free(dn_contours *contours);

/* ---- Data sets ----
 * The labels of many images, whatever their files: a COCO JSON; or an image list (one path a
 * line) or a folder of images, with label files beside the images (Darknet rows, YOLO-seg rows,
 * Darknet's run-length masks, LabelMe JSON), or with a folder of masks. Which file is which:
 * docs/formats.md. A loaded data set never changes, so that threads may share it. Polygons and runs
 * stay as compact as they were; masks are made on demand. */
typedef struct dn_dataset dn_dataset;

typedef struct dn_dataset_source {
    const char *path;          /* the JSON, the list or the folder */
    const char *images_folder; /* where the JSON's file names begin; NULL: the JSON's folder */
    const char *masks_folder;  /* label PNGs or run-length masks named as the images; or NULL */
    const char *names;         /* file of class names, one a line; or NULL */
    int32_t classes;           /* that many are allowed; 0: as many as names or labels say */
    bool strict;               /* label faults fail instead of being skipped and reported */
    bool images_only;          /* do not read a list's or folder's label rows: to predict only */
    const char *labels;        /* a classifier's: file of texts, one a line, of which each image's
                                  path holds that of its class; or NULL */
} dn_dataset_source;

typedef enum dn_object_kind {
    DN_OBJECT_BOX,      /* no mask */
    DN_OBJECT_POLYGONS, /* one or several parts */
    DN_OBJECT_RLE,
} dn_object_kind;

typedef struct dn_dataset_object {
    double bbox[4];   /* x, y, width, height as labelled: pixels, or fractions of the image */
    double area;      /* as labelled, else the mask's; in the same unit */
    int64_t id;       /* the annotation's own; else its number in the data set, from 1 */
    int32_t class_id; /* index into names */
    int32_t line;     /* in the label file */
    int32_t parts;    /* polygons */
    dn_object_kind kind;
    bool crowd;            /* a region to ignore */
    bool fractions;        /* coordinates are fractions of the image (rows of text files) */
    uint8_t decimals;      /* of the points as they are stored: dataset.h */
    const uint32_t *words; /* (word_count): points or runs as dataset.h says */
    int64_t word_count;
} dn_dataset_object;

typedef struct dn_dataset_image {
    const char *path;       /* to open it */
    const char *file_name;  /* as the labels call it */
    const char *label_path; /* the file with its labels; the image with images_only */
    int32_t width, height;  /* as labelled; 0: unknown until the image is read */
    int64_t id;             /* the JSON's; else its number in the data set, from 1 */
    int64_t first_object, object_count;
    int32_t class_id; /* of a classifier's data set */
} dn_dataset_image;

typedef struct dn_dataset_view {
    const dn_dataset_image *images; /* (image_count), in the file's order */
    int64_t image_count;
    const dn_dataset_object *objects; /* (object_count), image after image */
    int64_t object_count;
    const char *const *names;    /* (class_count) */
    const int64_t *category_ids; /* (class_count): the JSON's ids, -1: not in it; else 1, 2, ... */
    int32_t class_count;
    int64_t fault_count;       /* labels and images that were skipped */
    const char *const *faults; /* the first DN_FAULTS_KEPT of them, in sentences with file, line */
    bool has_image_classes;    /* a classifier's: images have a class, and no objects */
} dn_dataset_view;

enum { DN_FAULTS_KEPT = 100 };

/* Loads the labels of a data set, freed with dn_dataset_free. */
DN_API dn_status dn_dataset_load(const dn_dataset_source *source, dn_dataset **out);
DN_API void dn_dataset_free(dn_dataset *dataset);

/* What is in it; valid as long as the data set. */
DN_API const dn_dataset_view *dn_dataset_get(const dn_dataset *dataset);

/* The labelled box in pixels of an image of this size. */
DN_API dn_box dn_dataset_box(const dn_dataset_object *object, int32_t width, int32_t height);

/* The mask of an object (index into objects) of an image (index into images) that has this size;
 * polygons are rasterised as pycocotools does. Fails for DN_OBJECT_BOX, and where the labels were
 * made for another size. */
DN_API dn_status dn_dataset_mask(const dn_dataset *dataset, int64_t image, int64_t object,
                                 int32_t width, int32_t height, dn_rle *out);

/* The points of an object's polygons: *xy gets x, y, x, y, ... as labelled, *counts the number of
 * points of each of its `parts`; both are freed with dn_buffer_free. */
DN_API dn_status dn_dataset_polygons(const dn_dataset *dataset, int64_t object, double **xy,
                                     int64_t **counts);

/* ---- Data files ----
 * Darknet's .data: which data set to train on, which to validate on, and where results go. Paths
 * that are relative and do not exist from the working directory are those beside the file; texts
 * are NULL, and numbers 0, where the file does not say. */
typedef struct dn_data_file {
    const char *path; /* of the .data file itself */
    int32_t classes;
    const char *names;                      /* file of class names */
    const char *train;                      /* data set: COCO JSON, image list or folder */
    const char *train_images, *train_masks; /* as images_folder, masks_folder of a source */
    const char *valid, *valid_images, *valid_masks;
    const char *backup;  /* folder for weights; "backup" where the file does not say */
    const char *results; /* folder for results of `valid`; "results" where it does not say */
    const char *eval;    /* voc, coco or imagenet */
    const char *difficult, *map, *labels, *tree;
    int32_t top, save_weights, save_last;
} dn_data_file;

typedef enum dn_data_part { DN_DATA_TRAIN, DN_DATA_VALID } dn_data_part;

/* Reads a .data file, freed with dn_data_file_free. Unknown and repeated keys go to `warn`, in
 * sentences with file and line; it may be NULL. */
DN_API dn_status dn_data_file_read(const char *path,
                                   void (*warn)(void *context, const char *sentence), void *context,
                                   dn_data_file **out);
DN_API void dn_data_file_free(dn_data_file *data);

/* The source of one of its data sets; its texts belong to `data`. Fails, saying which path is
 * missing and what belongs there, where a path is not given or leads nowhere. */
DN_API dn_status dn_data_file_source(const dn_data_file *data, dn_data_part part,
                                     dn_dataset_source *out);

/* The same of a classifier: the image list or folder, and `labels`, which must be given. */
DN_API dn_status dn_data_file_class_source(const dn_data_file *data, dn_data_part part,
                                           dn_dataset_source *out);

/* ---- networks ------------------------------------------------------------------------------ */

/* What trains. Layers before the first trained one run as in inference, without gradients. */
typedef enum dn_stage {
    DN_STAGE_ALL,      /* every layer; also the joint stage */
    DN_STAGE_DETECTOR, /* up to the last head before [roialign]; the branch does not run */
    DN_STAGE_MASK,     /* what follows that head */
} dn_stage;

/* How inference computes. Training and networks with keep_all run layer by layer in single
 * precision whatever is asked for; on a GPU so do all but FP16 and BF16, which are plans of fused
 * steps. */
typedef enum dn_precision {
    DN_PRECISION_DEFAULT, /* DN_PRECISION_F32 */
    DN_PRECISION_F32,     /* a plan of fused steps in single precision; Winograd where it wins */
    DN_PRECISION_EXACT,   /* the same without Winograd */
    DN_PRECISION_PLAIN,   /* layer by layer */
    DN_PRECISION_BF16,    /* on the CPU convolutions may multiply in bfloat16, each where that is
                             faster on this machine; on a GPU as FP16, in bfloat16 */
    DN_PRECISION_INT8,    /* CPU only: so in 8 bits; needs `calibration` */
    DN_PRECISION_FP16,    /* on a GPU: half precision on tensor cores, sums in single precision */
    /* CPU only: as BF16 and INT8, but wherever there is a way, be it slower: the same products on
     * every machine. */
    DN_PRECISION_BF16_EVERYWHERE,
    DN_PRECISION_INT8_EVERYWHERE,
} dn_precision;

/* What programs call it: "f32", "bf16-everywhere", ...; NULL behind the last one. */
DN_API const char *dn_precision_name(dn_precision precision);

/* What a GPU multiplies in convolutions and [connected] layers, forward and backward; parameters,
 * activations, gradients and sums are single precision whatever it is. On the CPU always the first.
 */
typedef enum dn_products {
    DN_PRODUCTS_F32,  /* float32 */
    DN_PRODUCTS_TF32, /* factors rounded to 10 bits behind the point, on tensor cores */
    DN_PRODUCTS_F16,  /* to half precision, whose range is small: the loss is scaled for it */
} dn_products;

/* "float32", "tf32", "fp16"; NULL behind the last one. */
DN_API const char *dn_products_name(dn_products products);

typedef struct dn_network_options {
    int32_t batch;         /* images at a time; 0: batch/subdivisions to train, else 1 */
    int32_t width, height; /* of the input; 0: as the cfg says */
    int32_t threads;       /* at most 1024; 0: all cores */
    dn_stage stage;
    bool training;
    bool keep_all;      /* every layer's output (and gradient) stays readable after a pass */
    bool input_grad;    /* compute the input's gradient too */
    bool strict;        /* unknown keys are errors, not warnings */
    uint64_t seed;      /* of initial weights, dropout, RoI sampling */
    const char *device; /* where it runs: "cpu" (or NULL), "cuda", "cuda:1", or "auto": the first
                           GPU that can be used, else the CPU */
    void (*warn)(void *context, const char *sentence); /* may be NULL */
    void *warn_context;
    dn_precision precision;
    dn_products products;
    const char *calibration; /* a file of dn_calibrate, for int8; else NULL */
    /* By a plan: measures which form of each convolution is fastest here, in the first pass of a
     * size, and keeps that in this file ("": one of this processor or GPU in the user's cache);
     * NULL: forms are estimated on the CPU, and on a GPU in half precision measured anew in every
     * process. Outputs agree within dn_precision's limits, but the last bits may depend on the
     * file. */
    const char *tune;
} dn_network_options;

typedef struct dn_network dn_network;

typedef struct dn_network_info {
    int32_t layer_count, batch, channels, height, width;
    int64_t parameters; /* floats in a weights file of this network */
    int64_t flops;      /* an image, multiplications + additions as Darknet counts */
    int64_t arena_bytes;
    uint64_t seen;
} dn_network_info;

typedef struct dn_layer_info {
    const char *type;
    int32_t line;       /* in the cfg */
    int32_t n, c, h, w; /* capacity and shape of the output */
    int32_t live;       /* images or RoIs of the last pass */
    int32_t param_count;
    bool trains;
    const float
        *out; /* (n, c, h, w), valid after a pass if kept: the last layer's, heads', [mask]'s,
                 with keep_all everyone's; on cuda a copy of the live part, valid until the
                 next pass, NULL where it is not kept, as in inference by a plan */
    const float *grad; /* same, NULL where there is none */
    double loss;
    int64_t flops;
} dn_layer_info;

typedef struct dn_param_info {
    const char *name;
    int64_t count;
    float *data; /* writable: call dn_network_touch after a change */
    float *grad; /* NULL where it does not train; on cuda a copy that the next call renews */
} dn_param_info;

/* A box behind [roialign]. */
typedef struct dn_roi {
    int32_t image;     /* in the batch */
    int32_t class_id;  /* best class; of the truth when training */
    int32_t truth;     /* index of the matched object of the image, -1: none */
    int32_t detection; /* index among the image's detections, -1: from a truth */
    int32_t level;     /* the map it was pooled from, index into layers=, -1: all of them */
    float score;       /* of the best class */
    dn_box box;        /* pixels of the network's input */
    dn_box expanded;   /* pooled and pasted area, same unit, not clipped */
} dn_roi;

/* Whether networks can run on the device: DN_ERROR_DEVICE and a sentence where the build or the
 * machine lacks it. */
DN_API dn_status dn_device_check(const char *device);

/* What a device is, and how it runs now: empty, or 0, where nobody says. */
typedef struct dn_device_info {
    char name[256];    /* as its maker calls it */
    int32_t cores;     /* of the CPU, logical ones; of a GPU its multiprocessors */
    double clock_mhz;  /* of the CPU the mean over its cores; of a GPU the multiprocessors' */
    double memory_mhz; /* of a GPU, and the following, which its driver says (NVML) */
    double power_watts, power_limit_watts;
} dn_device_info;

DN_API dn_status dn_device_get_info(const char *device, dn_device_info *info);

/* Builds the network of a cfg file with initial weights. Freed with dn_network_free. */
DN_API dn_status dn_network_create(const char *cfg_path, const dn_network_options *options,
                                   dn_network **out);
DN_API void dn_network_free(dn_network *network);

/* Where it runs: "cpu", "cuda:0", ...; as long as the network lives. */
DN_API const char *dn_network_device(const dn_network *network);

/* How it computes, by dn_precision_name: all but "plain" are plans. */
DN_API const char *dn_network_precision(const dn_network *network);

/* Another size of the input, in pixels. Allocates nothing where a larger one was in use before. On
 * failure the old size stays. Outputs of the last pass are gone. */
DN_API dn_status dn_network_resize(dn_network *network, int32_t width, int32_t height);

DN_API dn_status dn_network_get_info(const dn_network *network, dn_network_info *info);
DN_API dn_status dn_network_get_layer(const dn_network *network, int32_t layer,
                                      dn_layer_info *info);
DN_API dn_status dn_network_get_param(dn_network *network, int32_t layer, int32_t index,
                                      dn_param_info *info);

/* Says that the caller has changed parameters. On the CPU `data` is the parameter itself; on cuda
 * it is a host copy that dn_network_get_param renews (at the same address), and what differs from
 * what that call gave goes to the device at the next call that runs, saves or reads something. */
DN_API void dn_network_touch(dn_network *network);

/* The layer table's row of one layer, as Darknet prints it (without the index). */
DN_API dn_status dn_network_describe(const dn_network *network, int32_t layer, char *text,
                                     size_t size);

/* Classes of the last head, or values that a classifier answers; 0 where it is neither. */
DN_API int32_t dn_network_classes(const dn_network *network);

/* Whether it has no heads and ends with [softmax], [logistic] or [cost]. */
DN_API bool dn_network_is_classifier(const dn_network *network);

/* The .data file that the cfg's [net] names (data=), as written there; NULL: none. */
DN_API const char *dn_network_data_path(const dn_network *network);

/* Runs `batch` images (batch, channels, height, width), planar RGB in 0..1; the input must stay
 * until the next call. `threshold` is the smallest score a detection may have. The input of a
 * network on a GPU may lie in the memory of that GPU (dn_device_array_create, or anybody's): what
 * writes it there must be done, and nothing travels. It returns when all layers are done; their
 * outputs stay where they are until somebody asks for them. */
DN_API dn_status dn_network_forward(dn_network *network, const float *input, int32_t batch,
                                    float threshold);

/* A step of the plan by which a network predicts (dn_precision), and what it did in the last pass.
 */
typedef struct dn_step_info {
    const char *kind;                /* "conv", "max", "copy", "plain": the layer as it is, ... */
    const char *form;                /* of a convolution: "direct", ...; else "" */
    int32_t first_layer, last_layer; /* that it does; -1: the network's input is reordered */
    int32_t images, c, h, w;         /* live images or RoIs, and the shape of its output */
    int64_t flops;                   /* of all of them, as Darknet counts */
    double seconds;
    double expected; /* seconds for which a convolution's form was chosen, as tuning measured them,
                        else estimated for two idle cores of 3.5 GHz; 0: there was no choice */
    bool tuned;
} dn_step_info;

/* How many there are; 0 before the first pass, and in networks that run layer by layer. */
DN_API int32_t dn_network_step_count(const dn_network *network);
DN_API dn_status dn_network_get_step(const dn_network *network, int32_t index, dn_step_info *info);

/* Tests only: the form that the inference plan takes for a convolution with the instruction set in
 * use; NULL: none fits. */
DN_API const char *dn_test_conv_choice(const dn_test_conv_form_args *args, dn_precision precision);

/* Tests only: what a network's plan holds, in bytes. */
typedef struct dn_test_memory {
    int64_t parameters; /* of the network, as a weights file has them */
    int64_t packed;     /* weights */
    int64_t kept;       /* of these, what was not packed anew for another input size */
    int64_t arena;      /* tensors and workspace */
    int64_t live;       /* the largest sum of tensors that live at the same time */
} dn_test_memory;

/* Tests only. */
DN_API dn_status dn_test_plan_memory(const dn_network *network, dn_test_memory *memory);

/* An object to learn from, in network pixels. A crowd is a region to ignore: neither positive nor
 * negative. The mask is in the pixels of an image of its own size; NULL: a box without mask. */
typedef struct dn_truth_object {
    dn_box box; /* clipped to the network's input */
    int32_t class_id;
    bool crowd;
    const dn_rle *mask;
    dn_affine net_to_image; /* from network pixels to the pixels of the mask */
    dn_box visible;         /* where in the input the mask shows; an empty box: everywhere */
} dn_truth_object;

/* What the losses of one image compare with. It owns nothing. */
typedef struct dn_truth {
    int32_t object_count;
    const dn_truth_object *objects;
    const float *values; /* classifiers and [cost]: the wanted outputs, or NULL */
} dn_truth;

/* The forward of a training network: as dn_network_forward, and sets the losses. truth is (batch)
 * and must stay until the backward; iteration selects the random numbers. */
DN_API dn_status dn_network_train_forward(dn_network *network, const float *input, int32_t batch,
                                          const dn_truth *truth, int64_t iteration);

/* What a head prints about its last training pass. Means over the boxes that learn an object, but
 * no_objectness over all boxes; all 0 where count is 0. */
typedef struct dn_head_statistics {
    int64_t count; /* boxes that learn an object */
    double iou, class_probability, objectness, no_objectness;
    double recall_50, recall_75; /* shares with IoU > .5 and > .75 */
    double box_loss, class_loss; /* parts of the layer's loss, per image */
} dn_head_statistics;

/* The statistics of a [yolo] or [region] layer. */
DN_API dn_status dn_network_get_head_statistics(const dn_network *network, int32_t layer,
                                                dn_head_statistics *statistics);

/* Gradients behind a forward of a training network, added to the parameters' grad. grad_out, the
 * gradient of the last layer's output, may be NULL (losses only). */
DN_API dn_status dn_network_backward(dn_network *network, const float *grad_out);
DN_API dn_status dn_network_zero_grad(dn_network *network);

/* The gradient of the input, a copy on cuda; NULL where there is none or it cannot be copied. */
DN_API const float *dn_network_input_grad(const dn_network *network);
DN_API double dn_network_loss(const dn_network *network);

/* The RoIs of the last pass, valid until the next one: `*rois` (*count), sorted by image. */
DN_API dn_status dn_network_get_rois(const dn_network *network, const dn_roi **rois,
                                     int32_t *count);

/* Tests only: layer `layer` once more on `device` ("cpu", "cuda", "cuda:N"), with the inputs and
 * parameters of the last pass of a network made with keep_all; the network stays as it is.
 * out: (live, c, h, w), receives its output. With grad_out, the gradient of it, backward runs too
 * and adds to in_grads, the gradients of its different inputs one after the other, each
 * (live, c, h, w), and to param_grads, those of the parameters that train; all three may be NULL.
 * DN_ERROR_DEVICE where the build, the machine or the layer type lacks the device. */
DN_API dn_status dn_test_layer(dn_network *network, int32_t layer, const char *device, float *out,
                               const float *grad_out, float *in_grads, float *param_grads);

/* Benchmarks only: mean seconds of layer `layer`'s forward and backward (0: it has none here) on
 * the network's device, of `rounds` runs each behind a pass, on whatever values its tensors hold by
 * then; gradients are added to. DN_ERROR_DEVICE where the layer type has no form on the device. */
DN_API dn_status dn_test_time_layer(dn_network *network, int32_t layer, int32_t rounds,
                                    double *forward, double *backward);

/* Tests only: networks made from now on run layers of this type on the CPU, as those without a form
 * on the device, until the next call; NULL: none. Not while such a network exists. */
DN_API dn_status dn_test_without_form(const char *layer_type);

/* Tests only: the next passes pool these boxes (image, class_id, truth, detection, score and box
 * are read) instead of the detector's or the truth's; count < 0: no longer. */
DN_API dn_status dn_test_set_rois(dn_network *network, const dn_roi *rois, int32_t count);

/* ---- predictions --------------------------------------------------------------------------- */

/* How an image fills the network's input. */
typedef enum dn_fit {
    DN_FIT_LETTERBOX, /* its shape is kept, the rest is gray */
    DN_FIT_STRETCH,
    DN_FIT_CROP, /* its shape is kept, the input is filled, what sticks out is cut off */
} dn_fit;

/* How a result has its masks. */
typedef enum dn_mask_form {
    DN_MASKS_PROBABILITIES, /* dn_instance.mask */
    DN_MASKS_RLE,           /* dn_result.rle; on a GPU made there, so that only strings travel */
    DN_MASKS_ON_DEVICE,     /* dn_result.device_masks, in the memory of the network's GPU */
} dn_mask_form;

/* Zeroed: the defaults. */
typedef struct dn_predict_options {
    float threshold; /* instances have larger scores; 0: .25 */
    float
        nms; /* overlap (IoU) above which the lower score goes; 0: [roialign]'s, or .45; 1: none */
    dn_fit fit;          /* of the image */
    int32_t max_objects; /* at most that many instances, the best ones; 0: all */
    bool on_device;      /* the images' data lie in the memory of the network's GPU */
    bool bgr;            /* of images on the device: they are BGR */
    dn_mask_form masks;
} dn_predict_options;

typedef struct dn_device_masks dn_device_masks;

/* One object: a box and one class it may have. */
typedef struct dn_instance {
    int32_t class_id;
    int32_t detection; /* instances of the same box share this number */
    float score;       /* objectness * class probability */
    float objectness;
    dn_box box;        /* pixels of the image, not clipped to it */
    dn_box mask_box;   /* the area that the mask covers, alike */
    const float *mask; /* (mask_size, mask_size): probabilities, row by row; NULL: no mask */
    float mask_score;  /* score * the mask's mean probability above .5; 0 where there is none */
} dn_instance;

typedef struct dn_result {
    int32_t width, height; /* of the image */
    int32_t instance_count;
    dn_instance *instances; /* (instance_count), by falling score */
    int32_t mask_size;      /* 0: the network has no mask branch */
    float *masks; /* those that instances have, one after the other in their order, or NULL */
    char *rle;    /* by DN_MASKS_RLE, else NULL: the instances' masks cut at one half, as strings of
                     dn_masks_encode in their order; an instance without a mask has an empty one */
    size_t rle_bytes;
    dn_device_masks *device_masks; /* by DN_MASKS_ON_DEVICE, else NULL: of all instances; who takes
                                      it away sets NULL */
    double preprocess_ms, network_ms, postprocess_ms; /* of a batch: the mean over its images */
    double branch_ms; /* of network_ms in the mask branch, during which boxes are found on a GPU; 0:
                         there is none, or it is not known */
    double masks_ms;  /* of postprocess_ms, behind the boxes, until the masks were there in their
                         form; 0 in streams */
} dn_result;

/* Finds the objects of one image; *out is freed with dn_result_free. `options` may be NULL. */
DN_API dn_status dn_network_predict(dn_network *network, const dn_image *image,
                                    const dn_predict_options *options, dn_result **out);

/* The same for `count` images, as many at a time as the network was made for; out: (count). */
DN_API dn_status dn_network_predict_batch(dn_network *network, const dn_image *images,
                                          int32_t count, const dn_predict_options *options,
                                          dn_result **out);

/* The objects of image `image` of the last dn_network_forward, as if its input had been made from
 * an image of width x height. The pass's threshold counts; of the options fit and max_objects. */
DN_API dn_status dn_network_get_result(dn_network *network, int32_t image, int32_t width,
                                       int32_t height, const dn_predict_options *options,
                                       dn_result **out);
DN_API void dn_result_free(dn_result *result); /* NULL is allowed */

/* ---- streams ----
 * Many images through a network: threads of the stream's own decode the next ones and make them
 * inputs while the network runs. On a GPU they do that on streams of their own, and the next batch
 * begins before the masks of one have come back. Results are those of dn_network_predict_batch, to
 * the bit; they come in the order of the images. */
typedef struct dn_stream dn_stream;

/* Who decodes JPEG files. On a GPU nvJPEG does it (a build that found it), those of three
 * components, not progressive, that lie as they are stored; all others the CPU. Its pixels, and so
 * results, are not quite the CPU's. */
typedef enum dn_file_decoder { DN_DECODE_CPU, DN_DECODE_DEVICE } dn_file_decoder;

/* Zeroed: the defaults. */
typedef struct dn_stream_options {
    dn_predict_options predict; /* on_device is not looked at */
    int32_t workers; /* threads that decode and make inputs; 0: one, or, where the network leaves
                        the CPU to them, up to eight of its threads */
    int32_t ahead; /* batches at most whose results are not all taken; 0: enough for the workers */
    dn_file_decoder decoder;
} dn_stream_options;

typedef struct dn_stream_image {
    const char *path; /* of a file that the stream decodes; NULL: it is decoded */
    dn_image image;   /* then its pixels, which must stay until its result is taken */
    bool on_device;   /* they lie in the memory of the network's GPU (dn_network_accept) */
} dn_stream_image;

typedef struct dn_stream_result {
    int64_t number;    /* of the image, 0, 1, ... in the order in which they were submitted */
    dn_result *result; /* freed with dn_result_free; NULL: no image is left in the stream. Its times
                          overlap those of its neighbours; on a GPU branch_ms is not known */
    dn_image image;   /* of a file: its pixels, freed with dn_image_free; without data where the GPU
                         has decoded it */
    double decode_ms; /* of a file */
} dn_stream_result;

/* The network must outlive the stream's last dn_stream_next and keep its size. Between the calls
 * others may use it. Freed with dn_stream_free. `options` may be NULL. */
DN_API dn_status dn_stream_create(dn_network *network, const dn_stream_options *options,
                                  dn_stream **out);
DN_API void dn_stream_free(dn_stream *stream); /* NULL is allowed */

/* Adds 1 to `batch` (of the network) images, which run together. Waits for room: another thread
 * must take results, or dn_stream_has_room be asked first. */
DN_API dn_status dn_stream_submit(dn_stream *stream, const dn_stream_image *images, int32_t count);
DN_API bool dn_stream_has_room(dn_stream *stream);

/* The result of the oldest image whose result is not taken; runs the network. An image that fails
 * fails alone: the call returns its error and leaves *out as it is, the next call goes on with the
 * next image. Called by one thread at a time. */
DN_API dn_status dn_stream_next(dn_stream *stream, dn_stream_result *out);

/* Waits, without using the network, until dn_stream_next would find its images decoded. */
DN_API dn_status dn_stream_wait(dn_stream *stream);

/* From any thread: whoever waits for this stream, now or later, gets DN_ERROR_CANCELLED. */
DN_API void dn_stream_stop(dn_stream *stream);

/* Makes sure that so many bytes from `data` on are memory of the network's GPU, and waits for the
 * work of the stream that writes them: a cudaStream_t as a number (1: the legacy default stream,
 * 2: the calling thread's own), 0: nothing to wait for. Before a prediction with on_device. */
DN_API dn_status dn_network_accept(dn_network *network, const void *data, size_t bytes,
                                   uint64_t stream);

/* ---- arrays on a GPU -----------------------------------------------------------------------
 * Masks and arrays live as long as somebody holds them, also when the network is gone, and are
 * freed in any thread. Masks are used by one thread at a time. What a call returns is there: nobody
 * needs to wait for the GPU. */

/* Puts masks into the memory of a GPU, as DN_MASKS_ON_DEVICE leaves them: (count, side, side)
 * probabilities, NaN for an instance without a mask, and the box that each covers in an image of
 * height x width. DN_ERROR_DEVICE for the CPU, and in a library without CUDA. */
DN_API dn_status dn_device_masks_create(const char *device, const float *masks, int32_t side,
                                        const dn_box *boxes, int32_t count, int32_t height,
                                        int32_t width, dn_device_masks **out);
DN_API void dn_device_masks_free(dn_device_masks *masks); /* NULL is allowed */

/* masks, (count, side, side) in host memory. */
DN_API dn_status dn_device_masks_read(const dn_device_masks *masks, float *out);

/* What dn_masks_encode gives, made on the GPU. */
DN_API dn_status dn_device_masks_encode(dn_device_masks *masks, float threshold, char **text,
                                        size_t *length);

typedef struct dn_device_array dn_device_array;

/* What dn_mask_paste_dense gives, all masks on the GPU: (count, height, width) of bool. */
DN_API dn_status dn_device_masks_paste(const dn_device_masks *masks, float threshold,
                                       dn_device_array **out);

typedef struct dn_device_array_info {
    void *data;        /* in the memory of the GPU; row-major without gaps */
    int32_t device;    /* the GPU's number */
    char kind;         /* as NumPy names it: 'b' (bool), 'f', 'i', 'u' */
    int32_t item_size; /* in bytes */
    int32_t axes;      /* 1..3 */
    int64_t shape[3];
} dn_device_array_info;

/* A copy of host memory; of `info` kind, item_size, axes and shape count. */
DN_API dn_status dn_device_array_create(const char *device, const dn_device_array_info *info,
                                        const void *values, dn_device_array **out);
DN_API void dn_device_array_get(const dn_device_array *array, dn_device_array_info *info);

/* Ends one hold of the array: the creator's. NULL is allowed. */
DN_API void dn_device_array_release(dn_device_array *array);

/* *managed = a DLManagedTensorVersioned of DLPack 1.0, or a DLManagedTensor: another hold, which
 * its deleter ends. */
DN_API dn_status dn_device_array_export(dn_device_array *array, bool versioned, void **managed);

/* For Python alone, whose capsules carry exports: its PyCapsule_IsValid and PyCapsule_GetPointer,
 * to be set once; and the destructor of a capsule, which ends the export that nobody has taken.
 * (One in Python could not run while an exception is on its way.) */
DN_API void dn_capsule_use(int (*is_valid)(void *capsule, const char *name),
                           void *(*pointer)(void *capsule, const char *name));
DN_API void dn_capsule_end(void *capsule);

typedef struct dn_class_score {
    int32_t class_id;
    float score; /* the network's output: a probability behind [softmax] */
} dn_class_score;

/* The `count` best classes of an image, best first, of equal ones the lower first; out: (count),
 * 1..dn_network_classes of them. Darknet's fit for it is DN_FIT_CROP. */
DN_API dn_status dn_network_classify(dn_network *network, const dn_image *image, dn_fit fit,
                                     int32_t count, dn_class_score *out);

/* Zeroed: the defaults. */
typedef struct dn_extend_options {
    int32_t channels;     /* of the branch; 0: 96 */
    int32_t convolutions; /* 3x3, before the deconvolution; 0: 4 */
    bool per_class;       /* a mask for each class instead of one for all */
} dn_extend_options;

/* A detector's cfg with a mask branch behind it: the same text, the keys of the mask stage in [net]
 * where they are missing, and the branch's sections, which pool boxes from one map of each stride
 * from 4 to 32. *text is freed with dn_buffer_free. `options` may be NULL. */
DN_API dn_status dn_extend_cfg(const char *cfg_path, const dn_extend_options *options, char **text);

/* ---- weights files ------------------------------------------------------------------------- */

typedef struct dn_weights_report {
    int32_t layers_loaded; /* with parameters, in all files */
    int32_t layers_total;
    uint64_t seen; /* of the first file */
} dn_weights_report;

/* Reads one file, or several in order ("detector.weights,mask.weights"): each ends at a layer
 * boundary and the next goes on there. One file that ends early is partial weights, which the
 * report tells; anything else that does not fit is an error. `report` may be NULL.
 *
 * Of a file that holds all parameters, a network that predicts by a plan on the CPU reads the large
 * ones only where they are needed, and keeps the file open until then. The file may be replaced or
 * deleted; where it has been written to instead, what needs it fails with DN_ERROR_IO. */
DN_API dn_status dn_network_load_weights(dn_network *network, const char *paths,
                                         dn_weights_report *report);

/* Writes layers first..last-1 (last < 0: all) through a temporary file that is renamed. */
DN_API dn_status dn_network_save_weights(dn_network *network, const char *path, int32_t first,
                                         int32_t last);
DN_API void dn_network_set_seen(dn_network *network, uint64_t seen);

/* ---- evaluation ---------------------------------------------------------------------------- */

/* What is compared with what: docs/evaluation.md. */
typedef enum dn_kind {
    DN_BOXES,
    DN_MASKS,
    DN_KINDS,
} dn_kind;

/* A labelled object, in pixels of its image. */
typedef struct dn_eval_truth {
    double bbox[4];   /* x, y, width, height */
    double area;      /* makes it small, medium or large */
    int64_t id;       /* the annotation's; pycocotools takes 0 for "none", and so do the numbers */
    int32_t class_id; /* 0..class_count-1 */
    bool crowd;       /* a region to ignore */
    const dn_rle *mask; /* NULL where masks are not compared */
} dn_eval_truth;

typedef struct dn_eval_detection {
    double score;
    double bbox[4]; /* DN_BOXES */
    int32_t class_id;
    const dn_rle *mask; /* DN_MASKS */
} dn_eval_detection;

/* An image with all that is labelled and all that was found. */
typedef struct dn_eval_image {
    int64_t id; /* decides ties: equal scores count by rising id */
    int64_t truth_count;
    const dn_eval_truth *truths;
    int64_t detection_count[2]; /* by kind; that of masks counts only where options.masks */
    const dn_eval_detection *detections[2];
} dn_eval_image;

/* Zeroed but class_count: the defaults. */
typedef struct dn_evaluator_options {
    int32_t class_count;
    const char *const *names;    /* (class_count); NULL: numbers */
    const int64_t *category_ids; /* (class_count): order of the classes in ties when they do not
                                    count; NULL: their numbers */
    bool masks;                  /* compare masks too: every truth must have one */
    bool class_agnostic;         /* classes do not count */
    int32_t max_detections;      /* of a class and image, the best ones; 0: 100 */
    double score_threshold;      /* of F1, confusion and Darknet's counts; 0: .25 */
    double iou_threshold;        /* of confusion and Darknet's mAP; 0: .5 */
    int32_t map_points;          /* of Darknet's mAP: 11, 101, ...; 0: the area under the curve */
    int32_t threads;             /* 0: all cores; results do not depend on it */
    void (*warn)(void *context, const char *sentence); /* may be NULL */
    void *warn_context;
} dn_evaluator_options;

/* Compares image after image and keeps some 60 bytes a detection; no masks. */
typedef struct dn_evaluator dn_evaluator;
DN_API dn_status dn_evaluator_create(const dn_evaluator_options *options, dn_evaluator **out);
DN_API void dn_evaluator_free(dn_evaluator *evaluator); /* NULL is allowed */

/* Adds images, each once, in any order. A failed call adds none. */
DN_API dn_status dn_evaluator_add(dn_evaluator *evaluator, const dn_eval_image *images,
                                  int64_t count);

/* The same for image `image` of a data set, which has this size: id and truths come from there,
 * only the detections are read from `found`. */
DN_API dn_status dn_evaluator_add_labelled(dn_evaluator *evaluator, const dn_dataset *dataset,
                                           int64_t image, int32_t width, int32_t height,
                                           const dn_eval_image *found);

/* pycocotools' twelve numbers, in its order; -1 where nothing is labelled. */
typedef enum dn_number {
    DN_AP,   /* IoU .50:.05:.95 */
    DN_AP50, /* IoU .50 */
    DN_AP75,
    DN_AP_SMALL, /* area up to 32^2 */
    DN_AP_MEDIUM,
    DN_AP_LARGE, /* from 96^2 */
    DN_AR1,      /* with one detection a class and image */
    DN_AR10,
    DN_AR, /* with max_detections */
    DN_AR_SMALL,
    DN_AR_MEDIUM,
    DN_AR_LARGE,
    DN_NUMBERS,
} dn_number;

/* Detections with at least this score, matched one to one. Shares of nothing are 0. */
typedef struct dn_f1 {
    double threshold;
    int64_t true_positives, false_positives, false_negatives;
    double precision, recall, f1;
} dn_f1;

/* Darknet's way of matching: at iou_threshold, a detection belongs to the truth it overlaps most.
 */
typedef struct dn_darknet_map {
    double ap;          /* of all classes: the mean, 0 for classes without truths */
    dn_f1 counts;       /* at score_threshold */
    double average_iou; /* of the true positives, divided by all positives */
} dn_darknet_map;

/* Of a class, or of all: the numbers are means over the classes, the counts sums. */
typedef struct dn_metrics {
    int64_t truths, detections; /* crowds and detections beyond max_detections left out */
    double numbers[12];         /* by dn_number */
    dn_f1 f1[2], best_f1[2];    /* IoU .50 and .75: at score_threshold; at the threshold that gives
                                   the best F1 */
    dn_darknet_map darknet;
} dn_metrics;

typedef struct dn_evaluation dn_evaluation;

typedef struct dn_evaluation_info {
    int64_t images, skipped; /* skipped: could not be read (dn_validate) */
    int32_t class_count;     /* 1 where classes do not count */
    const char *const *names;
    int32_t max_detections, map_points;
    double score_threshold, iou_threshold;
} dn_evaluation_info;

/* The figures of all images that were added; more may be added behind it. Freed with
 * dn_evaluation_free. */
DN_API dn_status dn_evaluator_run(const dn_evaluator *evaluator, dn_evaluation **out);
DN_API void dn_evaluation_free(dn_evaluation *evaluation); /* NULL is allowed */

/* What is in it, valid as long as it is. */
DN_API const dn_evaluation_info *dn_evaluation_get(const dn_evaluation *evaluation);

/* Of one class, or of all (class_id -1). NULL: no such class, or the kind was not compared. */
DN_API const dn_metrics *dn_evaluation_metrics(const dn_evaluation *evaluation, dn_kind kind,
                                               int32_t class_id);

/* A class's curves, (10, 101): for each IoU from .50 the precision at recalls 0, .01, ..., 1, or -1
 * without truths. NULL as above. */
DN_API const double *dn_evaluation_precision(const dn_evaluation *evaluation, dn_kind kind,
                                             int32_t class_id);

/* (class_count + 1, class_count + 1): how often a truth of the row's class was found as the
 * column's. The last row is what is no object, the last column what was not found. */
DN_API const int64_t *dn_evaluation_confusion(const dn_evaluation *evaluation, dn_kind kind);

/* Writes <stem>_metrics.json, <stem>_pr.csv (kind,class,iou,recall,precision) and
 * <stem>_confusion.csv (kind,truth,detection,count), each through a temporary file. */
DN_API dn_status dn_evaluation_save(const dn_evaluation *evaluation, const char *stem);

/* Zeroed: the defaults. */
typedef struct dn_validate_options {
    dn_predict_options predict; /* threshold 0: .001; nms 0: .45; max_objects 0: 100 */
    bool boxes_only;            /* else masks too, where the network and every label have them */
    bool box_score;             /* rank masks by dn_instance.score instead of mask_score */
    bool class_agnostic;        /* as in dn_evaluator_options, and so on */
    int32_t max_detections, map_points, threads;
    double score_threshold, iou_threshold;
    int64_t limit; /* the first so many images; 0: all */
    bool strict;   /* an image that cannot be read fails instead of being skipped */
    void *context; /* of the callbacks, each of which may be NULL */
    void (*progress)(void *context, int64_t done, int64_t count);
    void (*message)(void *context, const char *sentence); /* warnings, skipped images */
    bool (*cancelled)(void *context);                     /* true: stop with DN_ERROR_CANCELLED */
    void (*compared)(void *context, int64_t image, const dn_eval_image *found);
} dn_validate_options;

/* Runs a network (made with training = false) over a data set and compares. Boxes are clipped to
 * the image; masks are pasted in the image's own pixels, cut at one half. Classes of the network
 * are those of the data set, by number; instances of classes that its labels do not know are left
 * out, and count as class 0 where classes do not count. `compared` is told what was found in each
 * image (index in the data set), masks also where the labels have none to compare with. `options`
 * may be NULL. */
DN_API dn_status dn_validate(dn_network *network, const dn_dataset *dataset,
                             const dn_validate_options *options, dn_evaluation **out);

/* How often a classifier is right. */
typedef struct dn_class_accuracy {
    int64_t images, skipped; /* compared; could not be read */
    int64_t first, among;    /* images whose class is the best, is among the `top` best */
} dn_class_accuracy;

typedef struct dn_class_validate_options {
    dn_fit fit;
    int32_t top;   /* 0: 1 */
    bool strict;   /* an image that cannot be read fails instead of being skipped */
    void *context; /* of the callbacks, each of which may be NULL */
    void (*progress)(void *context, const dn_class_accuracy *so_far); /* after each image */
    void (*message)(void *context, const char *sentence);             /* skipped images */
    bool (*cancelled)(void *context); /* true: stop with DN_ERROR_CANCELLED */
} dn_class_validate_options;

/* Runs a classifier over a data set whose images have classes. `options` may be NULL: DN_FIT_CROP
 * and the best class. */
DN_API dn_status dn_validate_classes(dn_network *network, const dn_dataset *dataset,
                                     const dn_class_validate_options *options,
                                     dn_class_accuracy *out);

/* ---- calibration --------------------------------------------------------------------------- */

/* Zeroed: the defaults. */
typedef struct dn_calibrate_options {
    dn_fit fit;      /* of the images */
    float threshold; /* of the boxes that a mask branch sees; 0: .05 */
    int64_t limit;   /* at most so many images, evenly spread; 0: all */
    bool strict;     /* an image that cannot be read fails instead of being skipped */
    void *context;   /* of the callbacks, each of which may be NULL */
    void (*progress)(void *context, int64_t done, int64_t count);
    void (*message)(void *context, const char *sentence); /* skipped images */
    bool (*cancelled)(void *context);                     /* true: stop with DN_ERROR_CANCELLED */
} dn_calibrate_options;

typedef struct dn_calibration {
    int64_t images, skipped; /* measured; could not be read */
    int32_t layers;          /* convolutions, each of which has a range now */
} dn_calibration;

/* Runs a network made with DN_PRECISION_PLAIN on the CPU over the images and writes the range of
 * each convolution's input to the file `out` (docs/formats.md), through a temporary file. `options`
 * and `report` may be NULL. */
DN_API dn_status dn_calibrate(dn_network *network, const char *const *images, int64_t count,
                              const dn_calibrate_options *options, const char *out,
                              dn_calibration *report);

/* ---- training ------------------------------------------------------------------------------ */

/* The learning rate that the cfg gives for a stage's iteration (1, 2, ...). */
DN_API dn_status dn_network_rate(const dn_network *network, dn_stage stage, int64_t iteration,
                                 float *rate);

/* The optimizer that the cfg asks for, for training loops of one's own: forward, backward, step.
 * Made behind the loading of weights, since an average of them (ema_alpha) begins there. Freed with
 * dn_optimizer_free. */
typedef struct dn_optimizer dn_optimizer;
DN_API dn_status dn_optimizer_create(const dn_network *network, dn_optimizer **out);
DN_API void dn_optimizer_free(dn_optimizer *optimizer);

/* Updates the parameters by the gradients, summed over `batch` images, and zeroes these. A gradient
 * that is no number is DN_ERROR_DATA, which names its layer, and changes no parameter. */
DN_API dn_status dn_optimizer_step(dn_optimizer *optimizer, dn_network *network, float rate,
                                   int32_t batch);

/* The length of the last step's mean gradient, before max_grad_norm shortened it. */
DN_API double dn_optimizer_grad_norm(const dn_optimizer *optimizer);

/* With DN_PRODUCTS_F16 the network's gradients are those of the loss times this factor, else of the
 * loss (1). dn_optimizer_step takes it out again; where it finds gradients beyond half precision's
 * range it changes no parameter, counts as no step and halves the factor, which 2,000 steps without
 * that double. */
DN_API double dn_network_loss_scale(const dn_network *network);

/* What a checkpoint must hold: the number of steps done, and arrays 0..count-1 ("momentum"; or
 * "first moment", "second moment"; then "ema" where the cfg asks for it; with DN_PRODUCTS_F16 "loss
 * scale": the factor and the steps since it changed), writable. */
typedef struct dn_optimizer_array {
    const char *name;
    int64_t count;
    float *values; /* in the memory of the network's device */
} dn_optimizer_array;

DN_API int64_t dn_optimizer_get_steps(const dn_optimizer *optimizer);
DN_API void dn_optimizer_set_steps(dn_optimizer *optimizer, int64_t steps);
DN_API int32_t dn_optimizer_array_count(const dn_optimizer *optimizer);
DN_API dn_status dn_optimizer_get_array(dn_optimizer *optimizer, int32_t index,
                                        dn_optimizer_array *out);

/* Exchanges the network's parameters with their average, to validate it or to save it; once more
 * puts both back. DN_ERROR_ARGUMENT where there is no average. */
DN_API dn_status dn_optimizer_swap_ema(dn_optimizer *optimizer, dn_network *network);

typedef struct dn_train_progress {
    const char *stage;                 /* "detector", "mask", "joint" or "classifier" */
    int64_t iteration, max_iterations; /* of the stage, from 1 */
    int64_t images;                    /* seen in this stage */
    int32_t width, height;             /* of this iteration's input */
    double loss, average_loss;         /* average: .9 old + .1 new */
    float rate;
    double seconds;      /* this iteration took */
    double load_seconds; /* of them waiting for the loader */
    double eta_seconds;  /* to the end, from the average pace */
    double mask_iou;     /* mean over this iteration's RoIs; negative: none */
    int64_t rois;        /* masks trained on in this iteration */
    double last, best;   /* quality of the last and the best validation; negative: none yet */
    const char *saved;   /* a file written behind this iteration, or NULL */
} dn_train_progress;

/* A validation on the way; all of it is valid during the callback. */
typedef struct dn_train_validation {
    const char *stage;
    int64_t iteration;
    const dn_evaluation *evaluation;   /* NULL: of a classifier */
    const dn_class_accuracy *accuracy; /* of a classifier, `among` the `top` best; else NULL */
    int32_t top;
    double quality; /* what chooses the best weights: mask AP, box AP50 where there are no masks, or
                       the share of images that a classifier is right on */
    bool is_best;
    const char *saved; /* the weights written because of that, or NULL */
    double seconds;    /* it took */
} dn_train_validation;

typedef struct dn_train_options {
    const char *cfg;
    const char *weights; /* list of files to start from, or NULL; a training that begins with
                            DN_STAGE_MASK needs at least the whole detector */
    const char *state;   /* exact resume: a state file, which holds all that is needed; or NULL */
    const char *backup_folder; /* made if missing; its parent must be there */
    const dn_dataset *dataset;
    const dn_dataset *valid; /* to validate on the way; NULL: no validation */
    bool schedule;  /* the stages that the cfg's mask_from asks for, in the place of `stage` */
    dn_stage stage; /* the only one */
    uint64_t seed;
    int32_t threads; /* 0: all cores */
    int32_t workers; /* threads that prepare images; 0: one, or, where the network leaves the CPU to
                        them, up to eight of its threads */
    int64_t max_iterations; /* stop there, counted through all stages; 0: as the cfg says */
    int64_t save_every;     /* iterations between "_last" checkpoints; 0: 100 */
    int64_t keep_every;     /* iterations between weights that are kept; 0: none */
    int64_t valid_every;    /* iterations between validations; 0: an epoch, at least 100 */
    int32_t patience;       /* validations without a better one that end a stage; 0: as the cfg
                               says */
    bool clear;             /* set `seen` to 0 after loading */
    bool strict;            /* unknown keys, bad images and a full disk stop the training */
    bool plain;             /* no augmentation: the images as inference sees them, of one size */
    const char *device;     /* where it runs, as in dn_network_options; NULL: the CPU; several with
                               commas between them, "cuda:0,1" (or, to try it, "cpu,cpu"): each
                               takes an equal share of every batch, and of threads and workers */
    dn_products products;   /* as there */
    const char *command;    /* for args.txt: what was asked for; may be NULL */
    const char *data;       /* the same: the data file's path */
    void *context;          /* of the callbacks, each of which may be NULL */
    void (*progress)(void *context, const dn_train_progress *progress);
    void (*validating)(void *context, int64_t done, int64_t count); /* images */
    void (*validated)(void *context, const dn_train_validation *validation);
    void (*message)(void *context, const char *sentence);
    bool (*cancelled)(void *context); /* true: save and stop */
} dn_train_options;

typedef struct dn_train_report {
    int64_t iterations; /* done in all stages */
    double average_loss;
    bool cancelled;
} dn_train_report;

/* Trains. Writes into the backup folder, <base> being the cfg's name up to its first dot:
 * <base>_last.state, from which a training goes on exactly, as it goes and at the end; beside it
 * the weights as _last.weights, those of the best validation as _best.weights, _detector.weights
 * where the mask stage begins, _final.weights at the end and, where only a mask branch trains, that
 * branch alone as .mask.weights; the folder <base> with args.txt and results.csv. `report` may be
 * NULL. */
DN_API dn_status dn_train(const dn_train_options *options, dn_train_report *report);

/* Tests only: `values` (devices, count), a row each, become on each device of a
 * dn_train_options.device the sum of all rows, or their mean, as gradients do; *by_devices: without
 * the host (NCCL). */
DN_API dn_status dn_test_sum(const char *device, bool mean, float *values, int64_t count,
                             bool *by_devices);

/* Training samples to look at: the very ones that a training with this cfg, data set, stage and
 * seed learns from, but always in one size. Samples are numbered from 0; iteration i (from 1) of a
 * stage takes those from (i - 1) * batch on. */
typedef struct dn_preview_options {
    const char *cfg;
    const dn_dataset *dataset;
    dn_stage stage;
    uint64_t seed;
    int64_t first;         /* number of the first sample */
    int32_t count;         /* samples, 1..65536 */
    int32_t width, height; /* of the network's input; 0: as the cfg says */
    bool plain;            /* no augmentation */
} dn_preview_options;

typedef struct dn_preview {
    int32_t count, width, height;
    const float *input;    /* (count, 3, height, width): planar RGB in 0..1 */
    const dn_truth *truth; /* (count); dn_rle_sample draws an object's mask at the input's size */
    const int64_t *images; /* (count): index of a sample's image (a mosaic's first) */
} dn_preview;

/* Freed with dn_preview_free. */
DN_API dn_status dn_preview_make(const dn_preview_options *options, dn_preview **out);
DN_API void dn_preview_free(dn_preview *preview); /* NULL is allowed */

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
