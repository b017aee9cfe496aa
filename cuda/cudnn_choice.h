/* Which of cuDNN's algorithms a convolution takes, for conv_cudnn.cu: by measurement, once for each
 * shape, pass, kind of products and device of the process.
 *
 * Only deterministic ones are taken, and of those the fastest whose workspace is at most
 * DN_CUDNN_WORKSPACE. A measurement may turn out otherwise in another process, whose last bits then
 * differ: DARKNET_CUDNN=rules in the environment takes cuDNN's rules in its place, which choose the
 * same for the same version and GPU. Where nothing can be measured, for want of memory, they choose
 * too.
 */
#ifndef DN_CUDA_CUDNN_CHOICE_H
#define DN_CUDA_CUDNN_CHOICE_H

#include "core/status.h"
#include "math/conv.h"

#include <cudnn.h>

#define DN_CUDNN_TRY(call)                                                                         \
    do {                                                                                           \
        const cudnnStatus_t dn_cudnn_status = (call);                                              \
        if (dn_cudnn_status != CUDNN_STATUS_SUCCESS)                                               \
            return dn_fail(DN_ERROR_DEVICE, "%s:%d: cuDNN: %s", __FILE__, __LINE__,                \
                           cudnnGetErrorString(dn_cudnn_status));                                  \
    } while (0)

/* This thread's handle for the current device (conv_cudnn.cu). */
dn_status dn_cudnn_handle(cudnnHandle_t *handle);

/* Bytes. */
enum { DN_CUDNN_WORKSPACE = 1 << 30 };

/* Descriptors of a convolution's arrays for some number of images. */
typedef struct dn_cudnn_conv {
    cudnnTensorDescriptor_t in, out;
    cudnnFilterDescriptor_t weights;
    cudnnConvolutionDescriptor_t conv;
} dn_cudnn_conv;

/* Memory of the device to try algorithms in. */
typedef struct dn_cudnn_trial {
    float *in, *weights, *out; /* begin in one block, `in` its address */
    void *workspace;
    size_t bytes; /* of the workspace */
} dn_cudnn_trial;

/* For args->images images, with as much workspace as there is, to DN_CUDNN_WORKSPACE. False where
 * the device has no room for it. */
bool dn_cudnn_trial_make(const dn_conv_args *args, dn_cudnn_trial *trial);
void dn_cudnn_trial_free(dn_cudnn_trial *trial);

/* The three passes for cuDNN: names of the same things, and an algorithm that does every shape. */
struct dn_cudnn_forward {
    typedef cudnnConvolutionFwdAlgo_t algorithm;
    typedef cudnnConvolutionFwdAlgoPerf_t found;
    static const int NUMBER = 0;
    static const algorithm SAFE = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM;

    static cudnnStatus_t measure(cudnnHandle_t handle, const dn_cudnn_conv *c,
                                 const dn_cudnn_trial *t, int room, int *count, found *list)
    {
        return cudnnFindConvolutionForwardAlgorithmEx(handle, c->in, t->in, c->weights, t->weights,
                                                      c->conv, c->out, t->out, room, count, list,
                                                      t->workspace, t->bytes);
    }
    static cudnnStatus_t rules(cudnnHandle_t handle, const dn_cudnn_conv *c, int room, int *count,
                               found *list)
    {
        return cudnnGetConvolutionForwardAlgorithm_v7(handle, c->in, c->weights, c->conv, c->out,
                                                      room, count, list);
    }
    static cudnnStatus_t bytes(cudnnHandle_t handle, const dn_cudnn_conv *c, algorithm chosen,
                               size_t *bytes)
    {
        return cudnnGetConvolutionForwardWorkspaceSize(handle, c->in, c->weights, c->conv, c->out,
                                                       chosen, bytes);
    }
};

struct dn_cudnn_weights {
    typedef cudnnConvolutionBwdFilterAlgo_t algorithm;
    typedef cudnnConvolutionBwdFilterAlgoPerf_t found;
    static const int NUMBER = 1;
    static const algorithm SAFE = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;

    static cudnnStatus_t measure(cudnnHandle_t handle, const dn_cudnn_conv *c,
                                 const dn_cudnn_trial *t, int room, int *count, found *list)
    {
        return cudnnFindConvolutionBackwardFilterAlgorithmEx(handle, c->in, t->in, c->out, t->out,
                                                             c->conv, c->weights, t->weights, room,
                                                             count, list, t->workspace, t->bytes);
    }
    static cudnnStatus_t rules(cudnnHandle_t handle, const dn_cudnn_conv *c, int room, int *count,
                               found *list)
    {
        return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, c->in, c->out, c->conv,
                                                             c->weights, room, count, list);
    }
    static cudnnStatus_t bytes(cudnnHandle_t handle, const dn_cudnn_conv *c, algorithm chosen,
                               size_t *bytes)
    {
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, c->in, c->out, c->conv,
                                                              c->weights, chosen, bytes);
    }
};

struct dn_cudnn_input {
    typedef cudnnConvolutionBwdDataAlgo_t algorithm;
    typedef cudnnConvolutionBwdDataAlgoPerf_t found;
    static const int NUMBER = 2;
    static const algorithm SAFE = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;

    static cudnnStatus_t measure(cudnnHandle_t handle, const dn_cudnn_conv *c,
                                 const dn_cudnn_trial *t, int room, int *count, found *list)
    {
        return cudnnFindConvolutionBackwardDataAlgorithmEx(handle, c->weights, t->weights, c->out,
                                                           t->out, c->conv, c->in, t->in, room,
                                                           count, list, t->workspace, t->bytes);
    }
    static cudnnStatus_t rules(cudnnHandle_t handle, const dn_cudnn_conv *c, int room, int *count,
                               found *list)
    {
        return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, c->weights, c->out, c->conv,
                                                           c->in, room, count, list);
    }
    static cudnnStatus_t bytes(cudnnHandle_t handle, const dn_cudnn_conv *c, algorithm chosen,
                               size_t *bytes)
    {
        return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, c->weights, c->out, c->conv,
                                                            c->in, chosen, bytes);
    }
};

/* What was chosen before in this process: false where nothing was. */
bool dn_cudnn_recall(const dn_conv_args *args, dn_products products, int device, int pass,
                     int *algorithm);

/* Keeps it; without memory it is chosen anew another time. */
void dn_cudnn_keep(const dn_conv_args *args, dn_products products, int device, int pass,
                   int algorithm);

/* DARKNET_CUDNN=rules. */
bool dn_cudnn_by_rules(void);

/* The first of `list`, fastest first, that may be taken; SAFE where none may. */
template <class Pass>
typename Pass::algorithm dn_cudnn_first(cudnnHandle_t handle, const dn_cudnn_conv *c, int count,
                                        const typename Pass::found *list)
{
    for (int i = 0; i < count; i++) {
        size_t bytes = 0;
        if (list[i].status == CUDNN_STATUS_SUCCESS && list[i].determinism == CUDNN_DETERMINISTIC &&
            Pass::bytes(handle, c, list[i].algo, &bytes) == CUDNN_STATUS_SUCCESS &&
            bytes <= (size_t)DN_CUDNN_WORKSPACE)
            return list[i].algo;
    }
    return Pass::SAFE;
}

/* The algorithm of a pass over args->images images, as the descriptors say. */
template <class Pass>
typename Pass::algorithm dn_cudnn_choose(cudnnHandle_t handle, const dn_conv_args *args,
                                         dn_products products, int device, const dn_cudnn_conv *c)
{
    enum { ROOM = 32 };
    typename Pass::found list[ROOM];
    int known = 0, count = 0;
    if (dn_cudnn_recall(args, products, device, Pass::NUMBER, &known))
        return (typename Pass::algorithm)known;
    bool there = false;
    dn_cudnn_trial trial;
    if (!dn_cudnn_by_rules() && dn_cudnn_trial_make(args, &trial)) {
        there = Pass::measure(handle, c, &trial, ROOM, &count, list) == CUDNN_STATUS_SUCCESS;
        dn_cudnn_trial_free(&trial);
    }
    there = there || Pass::rules(handle, c, ROOM, &count, list) == CUDNN_STATUS_SUCCESS;
    const typename Pass::algorithm chosen =
        dn_cudnn_first<Pass>(handle, c, there ? count : 0, list);
    dn_cudnn_keep(args, products, device, Pass::NUMBER, (int)chosen);
    return chosen;
}

#endif
