/* As much of nvJPEG as cuda/ uses, on the CPU: libjpeg decodes when it is asked to, the pixels come
 * into the device's memory as late as on a GPU, and a state that is used again before that spoils
 * them. As nvJPEG does it turns nothing. Other than nvJPEG it gives the CPU's pixels, so that tests
 * compare bits.
 */
#ifndef DN_TESTS_HOST_NVJPEG_H
#define DN_TESTS_HOST_NVJPEG_H

#include "cuda_runtime.h"

extern "C" {
#include "data/image.h"
}

#define NVJPEG_VER_MAJOR              13
#define NVJPEG_MAX_COMPONENT          4
#define NVJPEG_FLAGS_DEFAULT          0
#define NVJPEG_FLAGS_BITSTREAM_STRICT 4

enum nvjpegStatus_t {
    NVJPEG_STATUS_SUCCESS,
    NVJPEG_STATUS_BAD_JPEG = 3,
    NVJPEG_STATUS_JPEG_NOT_SUPPORTED,
    NVJPEG_STATUS_EXECUTION_FAILED = 6,
    NVJPEG_STATUS_IMPLEMENTATION_NOT_SUPPORTED = 9,
    NVJPEG_STATUS_INCOMPLETE_BITSTREAM
};
enum nvjpegChromaSubsampling_t { NVJPEG_CSS_444, NVJPEG_CSS_UNKNOWN = -1 };
enum nvjpegOutputFormat_t { NVJPEG_OUTPUT_RGBI };
enum nvjpegBackend_t { NVJPEG_BACKEND_DEFAULT };

struct nvjpegImage_t {
    unsigned char *channel[NVJPEG_MAX_COMPONENT];
    size_t pitch[NVJPEG_MAX_COMPONENT];
};

struct dn_host_nvjpeg {
    int device;
};
typedef dn_host_nvjpeg *nvjpegHandle_t;

struct dn_host_nvjpeg_state {
    std::vector<uint8_t> pixels;
};
typedef dn_host_nvjpeg_state *nvjpegJpegState_t;

/* What nvjpegDecode answers, where a test wants it to fail. */
inline std::atomic<int> &dn_host_nvjpeg_answer()
{
    static std::atomic<int> status{NVJPEG_STATUS_SUCCESS};
    return status;
}

/* Files decoded since the program began, and states that are there. */
inline std::atomic<long> &dn_host_nvjpeg_count()
{
    static std::atomic<long> count{0};
    return count;
}

inline std::atomic<long> &dn_host_nvjpeg_alive()
{
    static std::atomic<long> count{0};
    return count;
}

DN_HOST_EXPORT void dn_host_nvjpeg_fail(int status)
{
    dn_host_nvjpeg_answer() = status;
}

DN_HOST_EXPORT long dn_host_nvjpeg_files()
{
    return dn_host_nvjpeg_count();
}

DN_HOST_EXPORT long dn_host_nvjpeg_states()
{
    return dn_host_nvjpeg_alive();
}

static inline nvjpegStatus_t nvjpegCreateEx(nvjpegBackend_t, void *, void *, unsigned,
                                            nvjpegHandle_t *handle)
{
    *handle = new dn_host_nvjpeg{dn_host_current()};
    return NVJPEG_STATUS_SUCCESS;
}

static inline nvjpegStatus_t nvjpegJpegStateCreate(nvjpegHandle_t, nvjpegJpegState_t *state)
{
    *state = new dn_host_nvjpeg_state;
    dn_host_nvjpeg_alive()++;
    return NVJPEG_STATUS_SUCCESS;
}

static inline nvjpegStatus_t nvjpegJpegStateDestroy(nvjpegJpegState_t state)
{
    dn_host_nvjpeg_alive()--;
    delete state;
    return NVJPEG_STATUS_SUCCESS;
}

static inline nvjpegStatus_t nvjpegGetImageInfo(nvjpegHandle_t, const unsigned char *bytes,
                                                size_t size, int *components,
                                                nvjpegChromaSubsampling_t *chroma, int *widths,
                                                int *heights)
{
    const dn_image_file file = {"nvJPEG", bytes, size};
    dn_image_header header;
    if (dn_image_jpeg.read_header(&file, &header) != DN_OK) return NVJPEG_STATUS_BAD_JPEG;
    *components = 3;
    *chroma = NVJPEG_CSS_444;
    widths[0] = header.width;
    heights[0] = header.height;
    return NVJPEG_STATUS_SUCCESS;
}

static inline nvjpegStatus_t nvjpegDecode(nvjpegHandle_t handle, nvjpegJpegState_t state,
                                          const unsigned char *bytes, size_t size,
                                          nvjpegOutputFormat_t, nvjpegImage_t *to, cudaStream_t)
{
    const dn_image_file file = {"nvJPEG", bytes, size};
    const nvjpegStatus_t wanted = (nvjpegStatus_t)dn_host_nvjpeg_answer().load();
    dn_image_header header;
    dn_image image = {};
    if (wanted != NVJPEG_STATUS_SUCCESS) return wanted;
    if (dn_image_jpeg.decode(&file, 1, &header, &image) != DN_OK) return NVJPEG_STATUS_BAD_JPEG;
    const size_t row = (size_t)image.width * 3, rows = (size_t)image.height;
    state->pixels.assign(image.data, image.data + rows * row);
    dn_image_free(&image);
    uint8_t *out = to->channel[0];
    const size_t pitch = to->pitch[0];
    if (handle->device != dn_host_current() || !dn_host_is_here(out, (rows - 1) * pitch + row))
        return NVJPEG_STATUS_EXECUTION_FAILED;
    dn_host_ask([=] {
        for (size_t y = 0; y < rows; y++)
            std::memcpy(out + y * pitch, state->pixels.data() + y * row, row);
    });
    dn_host_nvjpeg_count()++;
    return NVJPEG_STATUS_SUCCESS;
}

#define DN_NVJPEG_OPEN() (std::getenv("DN_HOST_NVJPEG_MISSING") ? nullptr : (void *)nvjpegDecode)
#define DN_NVJPEG_FIND(library, symbol) ((library) ? (void *)(symbol) : nullptr)

#endif
