/* Which form a convolution of half precision gets: see half_conv.h.
 *
 * Rules (half_rules.h) estimate the time of every form; the best of them are measured, once a
 * process for each shape and device, in memory of their own (half_trial.h), or once for all where a
 * tuning keeps it (half_tuning.h), which comes first. The list of what was chosen is searched from
 * its start: a network has some dozens of shapes, and asks when it is made or meets a new number of
 * boxes.
 */
#include "half_trial.h"
#include "half_tuning.h"

#include <mutex>
#include <stdlib.h>
#include <string.h>

/* How often a form runs to be measured, once or twice. */
#ifndef DN_MEASURED_RUNS
#define DN_MEASURED_RUNS 5
#endif
enum { DN_CHOICE_KEYS = 28 };

typedef struct dn_half_choice {
    int32_t of[DN_CHOICE_KEYS];
    dn_half_form form;
    double seconds;
    struct dn_half_choice *next;
} dn_half_choice;

static std::mutex mutex;
static dn_half_choice *choices;

/* DARKNET_CUDNN: NULL, "rules", or the name of a form, which is taken where it can run. */
static const char *asked_for()
{
    const char *asked = getenv("DARKNET_CUDNN");
    return asked && *asked ? asked : NULL;
}

static bool is_rules(const char *asked)
{
    return asked && strcmp(asked, "rules") == 0;
}

static void fill(const dn_half_conv *conv, int device, int32_t of[DN_CHOICE_KEYS])
{
    const int32_t all[DN_CHOICE_KEYS] = {
        conv->bf16,
        conv->images,
        conv->groups,
        conv->c,
        conv->h,
        conv->w,
        conv->size,
        conv->stride_x,
        conv->stride_y,
        conv->pad,
        conv->dilation,
        conv->out_h,
        conv->out_w,
        conv->filters,
        conv->k,
        conv->enlargement,
        conv->repeats,
        conv->activation,
        conv->after_add,
        conv->depthwise,
        conv->pixels_in,
        conv->planar_out,
        conv->add != NULL,
        (int32_t)conv->in_pixel,
        (int32_t)conv->add_pixel,
        (int32_t)conv->out_pixel,
        device,
        (int32_t)dn_half_hash(DN_HALF_HASH, asked_for() ? asked_for() : ""),
    };
    memcpy(of, all, sizeof all);
}

static bool recall(const int32_t of[DN_CHOICE_KEYS], dn_half_form *form, double *seconds)
{
    const std::lock_guard<std::mutex> lock(mutex);
    for (const dn_half_choice *choice = choices; choice; choice = choice->next) {
        if (memcmp(choice->of, of, sizeof choice->of) != 0) continue;
        *form = choice->form;
        *seconds = choice->seconds;
        return true;
    }
    return false;
}

/* Before what was kept earlier; without memory it is chosen anew another time. */
static void keep(const int32_t of[DN_CHOICE_KEYS], dn_half_form form, double seconds)
{
    dn_half_choice *made = (dn_half_choice *)malloc(sizeof *made);
    if (!made) return;
    memcpy(made->of, of, sizeof made->of);
    made->form = form;
    made->seconds = seconds;
    const std::lock_guard<std::mutex> lock(mutex);
    made->next = choices;
    choices = made;
}

/* ---- Measurement ---- */

/* The mean of some runs behind each other. */
static dn_status time_runs(dn_half_trial *trial, dn_half_form form,
                           const dn_half_workspace *workspace, const cudaEvent_t events[2],
                           double *seconds)
{
    float ms = 0.0f;
    DN_CUDA_TRY(cudaEventRecord(events[0], cudaStreamPerThread));
    for (int run = 0; run < DN_MEASURED_RUNS; run++)
        DN_TRY(dn_half_trial_run(trial, form, workspace));
    DN_CUDA_TRY(cudaEventRecord(events[1], cudaStreamPerThread));
    DN_CUDA_TRY(cudaEventSynchronize(events[1]));
    DN_CUDA_TRY(cudaEventElapsedTime(&ms, events[0], events[1]));
    *seconds = 1e-3 * (double)ms / (DN_MEASURED_RUNS > 0 ? DN_MEASURED_RUNS : 1);
    return DN_OK;
}

/* Once more where it may be the best of all, with `best` so far: the shorter time counts. */
static dn_status time_form(dn_half_trial *trial, dn_half_form form,
                           const dn_half_workspace *workspace, const cudaEvent_t events[2],
                           double best, double *seconds)
{
    double again = 0.0;
    if (DN_MEASURED_RUNS > 0) DN_TRY(dn_half_trial_run(trial, form, workspace));
    DN_TRY(time_runs(trial, form, workspace, events, seconds));
    if (best > 0.0 && *seconds > 1.2 * best) return DN_OK;
    DN_TRY(time_runs(trial, form, workspace, events, &again));
    if (again < *seconds) *seconds = again;
    return DN_OK;
}

/* The fastest of the first `count`; what does not run is passed over. */
static void measure_all(dn_half_trial *trial, const dn_half_workspace *workspace,
                        const dn_half_candidate *list, int32_t count, const cudaEvent_t events[2],
                        dn_half_form *form, double *seconds)
{
    for (int32_t i = 0; i < count; i++) {
        double took = 0.0;
        if (time_form(trial, list[i].form, workspace, events, *seconds, &took) != DN_OK) {
            cudaGetLastError();
            continue;
        }
        if (*seconds > 0.0 && took >= *seconds) continue;
        *seconds = took;
        *form = list[i].form;
    }
}

/* Without memory or events *form stays what the rules say. */
static void measure(const dn_half_conv *conv, const dn_half_workspace *workspace,
                    const dn_half_candidate *list, int32_t count, dn_half_form *form,
                    double *seconds)
{
    cudaEvent_t events[2];
    dn_half_trial trial;
    int32_t made = 0;
    if (!dn_half_trial_make(conv, &trial)) return;
    while (made < 2 && cudaEventCreate(&events[made]) == cudaSuccess) made++;
    if (made == 2)
        measure_all(&trial, workspace, list, count, events, form, seconds);
    else
        cudaGetLastError();
    for (int32_t i = 0; i < made; i++) cudaEventDestroy(events[i]);
    dn_half_trial_free(&trial);
}

/* All that can run: ours, the cheapest first, and cuDNN's behind the first `count`, of which there
 * are no more than `most`. */
static dn_status list_forms(const dn_half_conv *conv, int32_t most,
                            dn_half_candidate list[DN_HALF_FORMS + 1], int32_t *count)
{
    DN_TRY(dn_half_list_forms(conv, list, count));
    if (*count == 0)
        return dn_fail(DN_ERROR_DEVICE, "no form of a convolution of %d x %d runs on this GPU",
                       conv->size, conv->size);
    if (*count > most) *count = most;
    if (!is_rules(asked_for()) && dn_half_cudnn_fits(conv)) {
        list[*count] = {};
        list[(*count)++].form = {DN_HALF_CUDNN, 1, 1, 1};
    }
    return DN_OK;
}

/* What nobody knows. */
static dn_status choose_anew(const dn_half_conv *conv, const dn_half_workspace *workspace,
                             dn_half_form *form, double *seconds)
{
    dn_half_candidate list[DN_HALF_FORMS + 1];
    int32_t count = 0;
    const char *asked = asked_for();
    DN_TRY(list_forms(conv, asked ? DN_HALF_FORMS : DN_MEASURED_FORMS, list, &count));
    *form = list[0].form;
    *seconds = 0.0;
    if (asked)
        dn_half_form_named(conv, list, count, asked, form);
    else
        measure(conv, workspace, list, count, form, seconds);
    return DN_OK;
}

dn_status dn_half_choose(const dn_half_conv *conv, const dn_half_workspace *workspace,
                         dn_tuning *tuning, dn_half_form *form, double *seconds)
{
    int32_t of[DN_CHOICE_KEYS];
    int device = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    if (asked_for()) tuning = NULL;
    if (tuning) {
        dn_half_candidate list[DN_HALF_FORMS + 1];
        int32_t count = 0;
        DN_TRY(list_forms(conv, DN_HALF_FORMS, list, &count));
        if (dn_half_tuning_recall(tuning, conv, list, count, form, seconds)) return DN_OK;
    }
    fill(conv, device, of);
    if (!recall(of, form, seconds)) {
        DN_TRY(choose_anew(conv, workspace, form, seconds));
        keep(of, *form, *seconds);
    }
    if (tuning && *seconds > 0.0) return dn_half_tuning_keep(tuning, conv, *form, *seconds);
    return DN_OK;
}

dn_status dn_half_choose_other(const dn_half_conv *conv, dn_tuning *tuning, dn_half_form *form)
{
    dn_half_candidate list[DN_HALF_FORMS];
    int32_t of[DN_CHOICE_KEYS], count = 0, other = 0;
    int device = 0;
    const bool hopper = form->tile >= 0 && dn_half_tile_of(conv, form->tile)->hopper;
    DN_CUDA_TRY(cudaGetDevice(&device));
    DN_TRY(dn_half_list_forms(conv, list, &count));
    /* Where a tile by warpgroups fails all of them may, for want of clusters or the copy engine. */
    while (other < count && (list[other].form.tile == form->tile || (hopper && list[other].hopper)))
        other++;
    if (other == count)
        return dn_fail(DN_ERROR_DEVICE, "no form of this convolution but one that fails");
    *form = list[other].form;
    fill(conv, device, of);
    keep(of, *form, 0.0);
    if (tuning && !asked_for()) dn_half_tuning_forget(tuning, conv);
    return DN_OK;
}
