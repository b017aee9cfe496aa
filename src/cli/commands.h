/* The commands of the program, one function each. */
#ifndef DN_CLI_COMMANDS_H
#define DN_CLI_COMMANDS_H

#include "cli/arguments.h"

/* X(name, function, what it does): tasks read a second word (train, test, valid, ...). */
#define DN_TASKS(X)                                                                                \
    X("detector", "boxes")                                                                         \
    X("segmenter", "boxes and masks")                                                              \
    X("classifier", "classes of images")

/* X(word, function, operands, what it does): the second word behind a task. */
#define DN_TASK_COMMANDS(X)                                                                        \
    X(test, "[data] cfg weights [images...]", "finds objects, draws them, prints them")            \
    X(valid, "[data] cfg weights", "COCO's figures and results of the data file's valid set")      \
    X(map, "[data] cfg weights", "Darknet's mean average precision of it")                         \
    X(train, "[data] cfg [weights]", "trains the stage that the cfg asks for")                     \
    X(demo, "[data] cfg weights [video]", "draws the objects of a video or camera (Python)")       \
    X(benchmark, "[data] cfg weights images...", "times each step from a file to boxes and masks") \
    X(check, "[data|json|list|folder...]", "finds what is wrong in data sets")                     \
    X(calc_anchors, "[data]", "anchors for the boxes of the train set")                            \
    X(extend, "cfg [out.cfg]", "appends a mask branch to a detector's cfg")

/* The same behind `classifier`: X(word, function, operands, what it does). */
#define DN_CLASSIFIER_COMMANDS(X)                                                                  \
    X(predict, predict, "data cfg weights [images...]", "prints the best classes of images")       \
    X(valid, valid_classes, "data cfg weights", "prints top-1 and top-k on the valid images")      \
    X(train, train, "data cfg [weights]", "trains on images and the labels in their paths")

#define DN_TOOLS(X)                                                                                \
    X(partial, "cfg weights out N", "writes layers 0..N-1 and sets seen to 0")                     \
    X(tail, "cfg weights out N", "writes layers N and up: a mask branch alone")                    \
    X(ops, "cfg", "counts floating point operations")                                              \
    X(speed, "cfg [weights] [times]", "times the forward pass")                                    \
    X(calibrate, "[data] cfg weights [images...]",                                                 \
      "ranges of the inputs of convolutions for int8")                                             \
    X(average, "cfg out weights...", "means of the weights of several files")                      \
    X(statistics, "cfg weights", "minimum, mean and maximum of each layer's parameters")           \
    X(reset, "cfg weights out", "sets seen to 0")                                                  \
    X(rgbgr, "cfg weights out", "swaps red and blue in the first layer")                           \
    X(denormalize, "cfg weights out", "folds batch normalisation into the weights")                \
    X(layers, "cfg", "prints the layer table")                                                     \
    X(report, "folder", "draws the charts of a training (Python)")                                 \
    X(reference, "", "prints docs/cfg-reference.md: all sections and keys of a cfg")               \
    X(version, "", "prints the version")

#define X(name, operands, does) int dn_command_##name(dn_arguments *arguments);
DN_TASK_COMMANDS(X)
DN_TOOLS(X)
#undef X
#define X(word, name, operands, does) int dn_command_##name(dn_arguments *arguments);
DN_CLASSIFIER_COMMANDS(X)
#undef X

#endif
