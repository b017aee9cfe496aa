/* Small copies to the device. See staging.h. */
#include "staging.h"

void dn_staging_free(dn_staging *staging)
{
    if (staging->bytes == 0) return;
    cudaEventDestroy(staging->sent);
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
    error = cudaEventCreateWithFlags(&staging->sent, cudaEventDisableTiming);
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
    if (staging->bytes > 0) DN_CUDA_TRY(cudaEventSynchronize(staging->sent));
    if (bytes <= staging->bytes) return DN_OK;
    const size_t doubled = 2 * staging->bytes;
    dn_staging_free(staging);
    return make(staging, bytes > doubled ? bytes : doubled);
}

dn_status dn_staging_send(dn_staging *staging, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpyAsync(staging->block, staging->host, bytes, cudaMemcpyHostToDevice));
    DN_CUDA_TRY(cudaEventRecord(staging->sent, cudaStreamPerThread));
    return DN_OK;
}

dn_status dn_staging_fetch(dn_staging *staging, size_t start, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpyAsync(staging->host + start, staging->block + start, bytes,
                                cudaMemcpyDeviceToHost));
    DN_CUDA_TRY(cudaStreamSynchronize(cudaStreamPerThread));
    return DN_OK;
}
