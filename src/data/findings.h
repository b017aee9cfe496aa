/* Findings: what is wrong, or worth knowing, in a data set. The readers of labels report what they
 * skip (dn_builder_fault), `check` (check.h) all that it sees.
 */
#ifndef DN_DATA_FINDINGS_H
#define DN_DATA_FINDINGS_H

#include "core/status.h"

/* X(name, word in reports, information only, what it means) */
#define DN_FINDINGS(X)                                                                             \
    X(FORMAT, "format", false, "file or row that does not follow its format")                      \
    X(CLASS, "class", false, "class out of range or without a name")                               \
    X(POINTS, "points", false, "fewer than three points, or an odd number of coordinates")         \
    X(RANGE, "range", false, "coordinates outside the image")                                      \
    X(AREA, "area", false, "object without area")                                                  \
    X(MASK, "mask", false, "mask or shape that cannot be used")                                    \
    X(CROSSING, "crossing", false, "outline that crosses itself")                                  \
    X(DUPLICATE, "duplicate", false, "object labelled twice")                                      \
    X(EMPTY, "empty", false, "image without objects")                                              \
    X(CROWD, "crowd", false, "image with crowds only")                                             \
    X(UNLABELLED, "unlabelled", false, "image without a label file")                               \
    X(ORPHAN, "orphan", false, "label without its image")                                          \
    X(SIZE, "size", false, "image of another size than its labels say")                            \
    X(IMAGE, "image", false, "image that is missing or cannot be read")                            \
    X(REPEATED, "repeated", false, "image twice in one set")                                       \
    X(SPLIT, "split", false, "image in two sets")                                                  \
    X(NEGATIVE, "negative", true, "image with an empty label file: without objects on purpose")    \
    X(SMALL, "small", true, "object smaller than 3 pixels")                                        \
    X(NAME, "name", true, "name in two sets, of different images")

#define X(name, word, information, meaning) DN_FINDING_##name,
typedef enum dn_finding_kind { DN_FINDINGS(X) DN_FINDING_KINDS } dn_finding_kind;
#undef X

typedef struct dn_finding {
    dn_finding_kind kind;
    const char *path; /* of the file to look into */
    int32_t line;     /* 0: none */
    const char *text; /* what was found there */
} dn_finding;

/* Called for every finding; `finding` is valid during the call. */
typedef struct dn_finding_sink {
    void (*report)(void *context, const dn_finding *finding);
    void *context;
} dn_finding_sink;

#endif
