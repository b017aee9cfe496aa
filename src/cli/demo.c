/* `darknet detector demo`, `segmenter demo`: the objects of a video file, a stream or a camera.
 *
 * OpenCV reads, shows and writes videos, so that the program becomes `python -m yolomask demo` with
 * the same network (cli/python.h); `detector` draws boxes only. Without a file it is camera 0.
 */
#include "cli/commands.h"
#include "cli/data_sets.h"
#include "cli/open_network.h"
#include "cli/python.h"
#include "core/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DN_NUMBER_SIZE = 24 };

/* The words of the Python command. */
typedef struct dn_words {
    const char *items[DN_PYTHON_WORDS + 1]; /* NULL ends them */
    int count;
} dn_words;

static void add(dn_words *words, const char *word)
{
    if (words->count == DN_PYTHON_WORDS) dn_die("demo: too many weights files");
    words->items[words->count++] = word;
}

static void add_pair(dn_words *words, const char *name, const char *value)
{
    if (!value) return;
    add(words, name);
    add(words, value);
}

/* "a,b" as two words. */
static void add_weights(dn_words *words, const char *list)
{
    char *copy = strdup(list);
    if (!copy) dn_die("out of memory");
    add(words, "--weights");
    for (char *next = copy; next;) {
        add(words, next);
        next = strchr(next, ',');
        if (next) *next++ = '\0';
    }
}

/* A share as text. */
static const char *share_text(char *text, float share)
{
    snprintf(text, DN_NUMBER_SIZE, "%.6g", (double)share);
    return text;
}

static const char *int_text(char *text, int64_t value)
{
    snprintf(text, DN_NUMBER_SIZE, "%lld", (long long)value);
    return text;
}

static void become_python(const dn_words *words)
{
    dn_python python;
    char text[4 * DN_PYTHON_PATH];
    const bool found = dn_python_command(&python, words->items);
    if (found && !dn_python_can_import(&python, "numpy, cffi, cv2"))
        dn_die("demo: videos need a Python (here %s) with the packages numpy, cffi and "
               "opencv-python; YOLOMASK_PYTHON names another one",
               python.interpreter);
    if (found) dn_python_exec(&python);
    dn_python_text(&python, text, sizeof text);
    if (found) dn_die("%s: %s", python.interpreter, strerror(errno));
    dn_die("Python is not called from here; type: %s", text);
}

int dn_command_demo(dn_arguments *arguments)
{
    dn_words words = {.items = {"demo"}, .count = 1};
    char text[6][DN_NUMBER_SIZE];
    const char *conf = share_text(text[0], dn_take_share(arguments, "-thresh", .25f));
    const char *iou = share_text(text[1], dn_take_share(arguments, "-nms", .45f));
    const char *camera = int_text(text[2], dn_take_int(arguments, "-c", 0, 0, 1000));
    const char *names = dn_take_text(arguments, "-names", NULL);
    const char *out = dn_take_text(arguments, "-out", NULL);
    out = dn_take_text(arguments, "-out_filename", out); /* AlexeyAB's name for it */
    const bool hidden = dn_take_flag(arguments, "-dont_show");
    const dn_common_arguments common = dn_take_common(arguments);
    dn_take_files(arguments);
    if (!arguments->cfg) dn_die("a cfg file is missing");
    if (!arguments->weights) dn_die("a weights file is missing");
    dn_data_file *data = names ? NULL : dn_open_data_file(arguments);
    add(&words, arguments->count > 0 ? dn_take_operand(arguments, "the video") : camera);
    if (arguments->count > 0) dn_die("%s: one video at a time", arguments->items[0]);
    add_pair(&words, "--cfg", arguments->cfg);
    add_weights(&words, arguments->weights);
    add_pair(&words, "--names", names ? names : data->names);
    add_pair(&words, "--conf", conf);
    add_pair(&words, "--iou", iou);
    add_pair(&words, "--out", out);
    if (hidden) add(&words, "--no-show");
    if (strcmp(arguments->task, "detector") == 0) add(&words, "--no-masks");
    add_pair(&words, "--device", strcmp(common.device, "auto") == 0 ? NULL : common.device);
    add_pair(&words, "--threads", int_text(text[3], common.threads));
    add_pair(&words, "--size", int_text(text[4], common.width));
    add(&words, int_text(text[5], common.height));
    if (common.precision != DN_PRECISION_DEFAULT)
        add_pair(&words, "--precision", dn_precision_name(common.precision));
    add_pair(&words, "--calibration", common.calibration);
    if (common.tune && !*common.tune) add(&words, "--tune");
    if (common.tune && *common.tune) add_pair(&words, "--tune-file", common.tune);
    become_python(&words);
    return 1; /* not reached */
}
