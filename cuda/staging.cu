/* Small copies to the device. See staging.h. */
#include "staging.h"

void dn_staging_free(dn_staging *staging)
{
    if (staging->bytes == 0) return;
    cudaEventDestroy(staging->copied);
    cudaFree(staging->block);
    cudaFreeHost(staging->host);
    *staging = dn_staging();
}

static dn_status make(dn_staging *staging, size_t bytes)
{
    void *host, *block;
    DN_CUDA_TRY(cudaMallocHost(&host, bytes));
    cudaError_t error = cudaMalloc(&block, bytes);
    if (error != cudaSuccess) {
        cudaFreeHost(host);
        DN_CUDA_TRY(error);
    }
    error = cudaEventCreateWithFlags(&staging->copied, cudaEventDisableTiming);
    if (error != cudaSuccess) {
        cudaFree(block);
        cudaFreeHost(host);
        DN_CUDA_TRY(error);
    }
    staging->host = (char *)host;
    staging->block = (char *)block;
    staging->bytes = bytes;
    return DN_OK;
}

dn_status dn_staging_begin(dn_staging *staging, size_t bytes)
{
    DN_TRY(dn_staging_wait(staging));
    if (bytes <= staging->bytes) return DN_OK;
    const size_t doubled = 2 * staging->bytes;
    dn_staging_free(staging);
    return make(staging, bytes > doubled ? bytes : doubled);
}

dn_status dn_staging_send(dn_staging *staging, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpyAsync(staging->block, staging->host, bytes, cudaMemcpyHostToDevice));
    DN_CUDA_TRY(cudaEventRecord(staging->copied, cudaStreamPerThread));
    return DN_OK;
}

dn_status dn_staging_bring_on(cudaStream_t stream, dn_staging *staging, size_t start, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpyAsync(staging->host + start, staging->block + start, bytes,
                                cudaMemcpyDeviceToHost, stream));
    DN_CUDA_TRY(cudaEventRecord(staging->copied, stream));
    return DN_OK;
}

dn_status dn_staging_bring(dn_staging *staging, size_t start, size_t bytes)
{
    return dn_staging_bring_on(cudaStreamPerThread, staging, start, bytes);
}

dn_status dn_staging_wait(const dn_staging *staging)
{
    if (staging->bytes > 0) DN_CUDA_TRY(cudaEventSynchronize(staging->copied));
    return DN_OK;
}
