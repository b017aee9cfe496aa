/* COCO's strings of masks on the device: memory for them, and the way to the host. See paste.h; the
 * kernels are in paste_runs.cu.
 *
 * Strings of all masks, with what says how long they are, come in one copy. There is room for those
 * of usual masks, with two turns a column; where it was too little, who waits for them makes more,
 * and all is done again: the paster has the answers, which the next pass may have written over.
 *
 * All of it goes on a stream of the paster's own, behind the answers: who asked for the strings may
 * ask the device for the next pass, which does not come behind them.
 */
#include "paste.h"

enum {
    DN_TURNS_A_COLUMN = 4, /* that there is room for at first */
    DN_TEXT_A_COLUMN = 8,  /* half of it comes in the first copy */
    DN_TEXT_A_MASK = 16,
    DN_MARGIN = 64
};

/* Takes so many bytes behind *at. */
static char *part(char **at, int64_t bytes)
{
    char *begin = *at;
    *at += (bytes + 15) / 16 * 16;
    return begin;
}

/* Totals, means, text lie behind each other in what comes back. */
static size_t means_at()
{
    return sizeof(dn_paste_totals);
}

static size_t text_at(const dn_paster *paster)
{
    return means_at() + (size_t)paster->count * sizeof(float);
}

static size_t lay_out(const dn_paster *paster, char *block, dn_paste_work *w)
{
    const int64_t count = paster->count;
    char *at = block;
    w->turn_counts = (int64_t *)(void *)part(&at, count * 8);
    w->turn_starts = (int64_t *)(void *)part(&at, count * 8);
    w->text_counts = (int64_t *)(void *)part(&at, count * 8);
    w->begins = (int32_t *)(void *)part(&at, count * (paster->side + 2) * 4);
    w->columns = (uint32_t *)(void *)part(&at, paster->columns * 4);
    w->turns = (uint32_t *)(void *)part(&at, w->turn_room * 4);
    return (size_t)(at - block);
}

static dn_status reserve(dn_paster *paster, float threshold, dn_paste_work *w)
{
    const int64_t turns = paster->columns * DN_TURNS_A_COLUMN + DN_MARGIN;
    const int64_t text =
        paster->columns * DN_TEXT_A_COLUMN + (int64_t)paster->count * DN_TEXT_A_MASK + DN_MARGIN;
    if (turns > paster->turn_room) paster->turn_room = turns;
    if (text > paster->text_room) paster->text_room = text;
    *w = dn_paste_work();
    w->view = dn_paste_view_of(paster, threshold);
    w->turn_room = paster->turn_room;
    w->text_room = paster->text_room;
    DN_TRY(dn_room_reserve(&paster->scratch, lay_out(paster, nullptr, w)));
    lay_out(paster, paster->scratch.block, w);
    DN_TRY(dn_staging_begin(&paster->found, text_at(paster) + (size_t)w->text_room));
    w->totals = (dn_paste_totals *)(void *)paster->found.block;
    w->text = paster->found.block + text_at(paster);
    return DN_OK;
}

/* Asks for totals, means and as much text as usual masks have, or other ones had before. */
static dn_status bring(dn_paster *paster, const dn_paste_work &w)
{
    const int64_t usual =
        paster->columns * (DN_TEXT_A_COLUMN / 2) + (int64_t)paster->count * DN_TEXT_A_MASK;
    const int64_t text = usual > paster->longest ? usual : paster->longest;
    paster->brought = text_at(paster) + (size_t)(text < w.text_room ? text : w.text_room);
    return dn_staging_bring_on(paster->stream, &paster->found, 0, paster->brought);
}

/* Makes all text, if there is room for it. */
static dn_status try_once(dn_paster *paster)
{
    dn_paste_work w;
    DN_TRY(reserve(paster, paster->threshold, &w));
    float *means = (float *)(void *)(paster->found.block + means_at());
    DN_TRY(dn_paste_means(&w.view, means, paster->stream));
    DN_TRY(dn_paste_write_runs(&w, paster->stream));
    return bring(paster, w);
}

/* Waits; where there was too little room, more is to be made. */
static dn_status take_text(dn_paster *paster, bool *fits, size_t *length)
{
    DN_TRY(dn_staging_wait(&paster->found));
    const dn_paste_totals totals = *(const dn_paste_totals *)(const void *)paster->found.host;
    *fits = totals.turns <= paster->turn_room && totals.text <= paster->text_room;
    if (totals.turns > paster->turn_room)
        paster->turn_room = 2 * totals.turns;
    else if (totals.text > paster->text_room)
        paster->text_room = 2 * totals.text;
    if (!*fits) return DN_OK;
    *length = (size_t)totals.text;
    if (totals.text > paster->longest) paster->longest = totals.text;
    const size_t all = text_at(paster) + *length;
    if (all <= paster->brought) return DN_OK;
    DN_TRY(dn_staging_bring_on(paster->stream, &paster->found, paster->brought,
                               all - paster->brought));
    paster->brought = all;
    return dn_staging_wait(&paster->found);
}

/* The paster's stream, from here on, comes behind what the calling thread has asked for. */
static dn_status part_ways(dn_paster *paster)
{
    if (!paster->taken)
        DN_CUDA_TRY(cudaEventCreateWithFlags(&paster->taken, cudaEventDisableTiming));
    if (!paster->stream)
        DN_CUDA_TRY(cudaStreamCreateWithFlags(&paster->stream, cudaStreamNonBlocking));
    DN_CUDA_TRY(cudaEventRecord(paster->taken, cudaStreamPerThread));
    DN_CUDA_TRY(cudaStreamWaitEvent(paster->stream, paster->taken, 0));
    return DN_OK;
}

dn_status dn_paste_encode(dn_paster *paster, float threshold)
{
    paster->threshold = threshold;
    DN_TRY(part_ways(paster));
    return try_once(paster);
}

dn_status dn_paste_text(dn_paster *paster, const char **text, size_t *length, const float **means)
{
    bool fits = false;
    DN_TRY(take_text(paster, &fits, length));
    while (!fits) {
        DN_TRY(try_once(paster));
        DN_TRY(take_text(paster, &fits, length));
    }
    *text = paster->found.host + text_at(paster);
    *means = (const float *)(const void *)(paster->found.host + means_at());
    return DN_OK;
}
