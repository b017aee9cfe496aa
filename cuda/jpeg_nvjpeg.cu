/* JPEG files decoded on the device by nvJPEG: see jpeg.h.
 *
 * The library is opened when a stream first asks for it. It has one handle a device, made once and
 * kept, which threads share, and a state for each decoder. A decoded image is waited for: then the
 * state and the file's bytes are free again; other threads' images go on meanwhile.
 *
 * Limits: pixels are not libjpeg-turbo's. Chroma is interpolated where the library can do that, as
 * libjpeg does; the transform and the rounding of colours are nvJPEG's own.
 */
#include "jpeg.h"

#include "launch.h"
#include "library.h"

#include <nvjpeg.h>

#include <dlfcn.h>
#include <mutex>

/* tests/host_cuda has its own. */
#ifndef DN_NVJPEG_OPEN
#define DN_NVJPEG_OPEN()                dlopen(DN_NVJPEG_FILE, RTLD_NOW | RTLD_LOCAL)
#define DN_NVJPEG_FIND(library, symbol) dlsym(library, #symbol)
#endif

#define DN_NVJPEG_TEXT(number)  #number
#define DN_NVJPEG_NAMED(number) "libnvjpeg.so." DN_NVJPEG_TEXT(number)
#define DN_NVJPEG_FILE          DN_NVJPEG_NAMED(NVJPEG_VER_MAJOR)

/* Headers of CUDA 11 and 12 may lack it: those libraries repeat chroma. */
#ifndef NVJPEG_FLAGS_UPSAMPLING_WITH_INTERPOLATION
#define NVJPEG_FLAGS_UPSAMPLING_WITH_INTERPOLATION NVJPEG_FLAGS_DEFAULT
#endif

/* Strict: of a damaged file the CPU makes what it makes of it, or says what is wrong. */
static const unsigned flags =
    (NVJPEG_FLAGS_BITSTREAM_STRICT) | (NVJPEG_FLAGS_UPSAMPLING_WITH_INTERPOLATION);

/* What is used of the library; NULL where it lacks something. */
typedef struct dn_nvjpeg {
    decltype(&nvjpegCreateEx) create;
    decltype(&nvjpegJpegStateCreate) state_create;
    decltype(&nvjpegJpegStateDestroy) state_destroy;
    decltype(&nvjpegGetImageInfo) image_info;
    decltype(&nvjpegDecode) decode;
} dn_nvjpeg;

typedef struct dn_nvjpeg_decoder {
    const dn_nvjpeg *nvjpeg;
    nvjpegHandle_t handle; /* the device's */
    nvjpegJpegState_t state;
} dn_nvjpeg_decoder;

/* ---- the library ---- */

#define DN_NVJPEG_TAKE(member, symbol)                                                             \
    dn_take_symbol(nvjpeg->member, DN_NVJPEG_FIND(library, symbol))

static bool take_all(void *library, dn_nvjpeg *nvjpeg)
{
    return DN_NVJPEG_TAKE(create, nvjpegCreateEx) &&
           DN_NVJPEG_TAKE(state_create, nvjpegJpegStateCreate) &&
           DN_NVJPEG_TAKE(state_destroy, nvjpegJpegStateDestroy) &&
           DN_NVJPEG_TAKE(image_info, nvjpegGetImageInfo) && DN_NVJPEG_TAKE(decode, nvjpegDecode);
}

/* Opened once, for good. */
static const dn_nvjpeg *load()
{
    static dn_nvjpeg nvjpeg;
    static const bool loaded = [] {
        void *library = DN_NVJPEG_OPEN();
        return library && take_all(library, &nvjpeg);
    }();
    return loaded ? &nvjpeg : nullptr;
}

/* The library has no words for its errors. */
static dn_status check(nvjpegStatus_t status, const char *what)
{
    if (status == NVJPEG_STATUS_SUCCESS) return DN_OK;
    return dn_fail(DN_ERROR_DEVICE, "nvJPEG: %s: status %d", what, (int)status);
}

/* ---- decoders ---- */

static dn_status handle_of_device(const dn_nvjpeg *nvjpeg, nvjpegHandle_t *handle)
{
    enum { DEVICES = 64 };
    static std::mutex lock;
    static nvjpegHandle_t handles[DEVICES];
    int device = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    if (device >= DEVICES)
        return dn_fail(DN_ERROR_DEVICE, "device cuda:%d: nvJPEG is used on devices 0..%d", device,
                       DEVICES - 1);
    const std::lock_guard<std::mutex> guard(lock);
    if (!handles[device])
        DN_TRY(
            check(nvjpeg->create(NVJPEG_BACKEND_DEFAULT, nullptr, nullptr, flags, &handles[device]),
                  "nvjpegCreateEx"));
    *handle = handles[device];
    return DN_OK;
}

static dn_status open_decoder(void **decoder)
{
    const dn_nvjpeg *nvjpeg = load();
    nvjpegHandle_t handle = nullptr;
    nvjpegJpegState_t state = nullptr;
    if (!nvjpeg)
        return dn_fail(DN_ERROR_DEVICE, "there is no nvJPEG (%s) to decode files", DN_NVJPEG_FILE);
    DN_TRY(handle_of_device(nvjpeg, &handle));
    DN_TRY(check(nvjpeg->state_create(handle, &state), "nvjpegJpegStateCreate"));
    *decoder = new dn_nvjpeg_decoder{nvjpeg, handle, state};
    return DN_OK;
}

static void close_decoder(void *closed)
{
    dn_nvjpeg_decoder *decoder = (dn_nvjpeg_decoder *)closed;
    decoder->nvjpeg->state_destroy(decoder->state);
    delete decoder;
}

/* ---- files ---- */

static bool is_refusal(nvjpegStatus_t status)
{
    return status == NVJPEG_STATUS_BAD_JPEG || status == NVJPEG_STATUS_JPEG_NOT_SUPPORTED ||
           status == NVJPEG_STATUS_IMPLEMENTATION_NOT_SUPPORTED ||
           status == NVJPEG_STATUS_INCOMPLETE_BITSTREAM;
}

/* Whether it sees in the file what the image is to be. */
static dn_status look(const dn_nvjpeg_decoder *decoder, const unsigned char *bytes, size_t size,
                      const dn_image *image, bool *known)
{
    int components = 0, widths[NVJPEG_MAX_COMPONENT] = {}, heights[NVJPEG_MAX_COMPONENT] = {};
    nvjpegChromaSubsampling_t chroma = NVJPEG_CSS_UNKNOWN;
    const nvjpegStatus_t status = decoder->nvjpeg->image_info(
        decoder->handle, bytes, size, &components, &chroma, widths, heights);
    *known = status == NVJPEG_STATUS_SUCCESS && components == 3 && chroma != NVJPEG_CSS_UNKNOWN &&
             widths[0] == image->width && heights[0] == image->height;
    return is_refusal(status) ? DN_OK : check(status, "nvjpegGetImageInfo");
}

static dn_status decode(void *with, const void *file, size_t size, const dn_image *image,
                        bool *done)
{
    const dn_nvjpeg_decoder *decoder = (const dn_nvjpeg_decoder *)with;
    const unsigned char *bytes = (const unsigned char *)file;
    nvjpegImage_t to = {};
    to.channel[0] = image->data;
    to.pitch[0] = (size_t)image->width * 3;
    DN_TRY(look(decoder, bytes, size, image, done));
    if (!*done) return DN_OK;
    const nvjpegStatus_t status = decoder->nvjpeg->decode(
        decoder->handle, decoder->state, bytes, size, NVJPEG_OUTPUT_RGBI, &to, cudaStreamPerThread);
    DN_CUDA_TRY(cudaStreamSynchronize(cudaStreamPerThread));
    *done = status == NVJPEG_STATUS_SUCCESS;
    return is_refusal(status) ? DN_OK : check(status, "nvjpegDecode");
}

const dn_device_jpeg dn_cuda_jpeg = {open_decoder, decode, close_decoder};
