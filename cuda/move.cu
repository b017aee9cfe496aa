/* See move.h. Four values a thread where places and lengths allow it, else one. */
#include "move.h"

#include "quad.h"

template <typename Value> struct dn_run_of {
    const Value *from;
    Value *to;
    int64_t part, from_step, to_step; /* in values of this type */
};

template <bool add, typename Value> static __global__ void move(dn_run_of<Value> run, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int64_t n = i / run.part, at = i - n * run.part;
        const Value value = run.from[n * run.from_step + at];
        Value *to = run.to + n * run.to_step + at;
        *to = add ? *to + value : value;
    }
}

template <bool add, typename Value> static dn_status launch(dn_run run, int64_t images)
{
    const int64_t width = sizeof(Value) / sizeof(float);
    const dn_run_of<Value> wide = {(const Value *)run.from, (Value *)run.to, run.part / width,
                                   run.from_step / width, run.to_step / width};
    const int64_t count = images * wide.part;
    DN_LAUNCH(move<add>, count, wide, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

template <bool add> static dn_status move_runs(dn_run run, int64_t images)
{
    const bool wide = dn_is_quad_place(run.from) && dn_is_quad_place(run.to) &&
                      (run.part | run.from_step | run.to_step) % 4 == 0;
    return wide ? launch<add, dn_quad>(run, images) : launch<add, float>(run, images);
}

dn_status dn_cuda_copy(dn_run run, int64_t images)
{
    return move_runs<false>(run, images);
}

dn_status dn_cuda_add(dn_run run, int64_t images)
{
    return move_runs<true>(run, images);
}
