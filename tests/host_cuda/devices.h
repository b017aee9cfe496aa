/* Two devices for cuda_runtime.h, whose memory the host cannot read.
 *
 * A block is whole pages with the protection key of its device (Linux pkeys, x86): only while a
 * kernel or a copy of this thread runs, and only where that device is the thread's current one, the
 * pages can be read and written. Host code that follows a pointer into a block, or a kernel that
 * runs while another device is current, ends the process with a segmentation fault, where a GPU
 * would end it with an error far behind. Machines without protection keys go unprotected; copies
 * still look up the block and the device.
 */
#ifndef DN_TESTS_HOST_CUDA_DEVICES_H
#define DN_TESTS_HOST_CUDA_DEVICES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <atomic>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>

#include <sys/mman.h>

enum { DN_HOST_DEVICES = 2, DN_HOST_PAGE = 4096 };

struct dn_host_memory {
    struct block {
        size_t bytes;
        int device;
    };
    std::mutex lock;
    std::map<const char *, block> blocks;
    int keys[DN_HOST_DEVICES];

    dn_host_memory()
    {
        for (int &key : keys) key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    }
};

inline dn_host_memory &dn_host_all()
{
    static dn_host_memory *memory = new dn_host_memory; /* threads may outlive static objects */
    return *memory;
}

inline int &dn_host_current()
{
    static thread_local int device = 0;
    return device;
}

/* While it lives, this thread reaches the current device's memory. */
class dn_host_access
{
    int key, before;
    bool fresh = true;

  public:
    dn_host_access() : key(dn_host_all().keys[dn_host_current()])
    {
        before = key < 0 ? 0 : pkey_get(key);
        if (key >= 0) pkey_set(key, 0);
    }
    ~dn_host_access()
    {
        if (key >= 0) pkey_set(key, (unsigned)before);
    }
    bool once()
    {
        const bool first = fresh;
        fresh = false;
        return first;
    }
};

inline void *dn_host_alloc(size_t bytes)
{
    dn_host_memory &memory = dn_host_all();
    const int device = dn_host_current();
    const int access = PROT_READ | PROT_WRITE;
    bytes = (bytes + DN_HOST_PAGE - 1) / DN_HOST_PAGE * DN_HOST_PAGE;
    void *block = mmap(nullptr, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    if (memory.keys[device] >= 0) pkey_mprotect(block, bytes, access, memory.keys[device]);
    const std::lock_guard<std::mutex> guard(memory.lock);
    memory.blocks[(const char *)block] = {bytes, device};
    return block;
}

inline void dn_host_free(void *block)
{
    dn_host_memory &memory = dn_host_all();
    const std::lock_guard<std::mutex> guard(memory.lock);
    const auto found = memory.blocks.find((const char *)block);
    if (found == memory.blocks.end()) return;
    munmap(block, found->second.bytes);
    memory.blocks.erase(found);
}

/* The device whose memory the byte is, -1: the host's, or nobody's. */
inline int dn_host_device_of(const void *byte)
{
    dn_host_memory &memory = dn_host_all();
    const char *at = (const char *)byte;
    const std::lock_guard<std::mutex> guard(memory.lock);
    auto found = memory.blocks.upper_bound(at);
    if (found == memory.blocks.begin()) return -1;
    --found;
    return at < found->first + found->second.bytes ? found->second.device : -1;
}

/* ---- For tests that load the library by themselves ---- */

#define DN_HOST_EXPORT extern "C" __attribute__((used, visibility("default"))) inline

struct dn_host_traffic {
    std::atomic<long> count{0}, bytes{0};
};

/* Copies from devices to the host since the program began. */
inline dn_host_traffic &dn_host_to_host()
{
    static dn_host_traffic traffic;
    return traffic;
}

/* Arrays of a test on a device. */
DN_HOST_EXPORT void *dn_host_put(int device, const void *bytes, size_t count)
{
    const int before = dn_host_current();
    dn_host_current() = device;
    void *block = dn_host_alloc(count);
    {
        const dn_host_access open;
        std::memcpy(block, bytes, count);
    }
    dn_host_current() = before;
    return block;
}

DN_HOST_EXPORT void dn_host_take(void *block)
{
    dn_host_free(block);
}

DN_HOST_EXPORT void dn_host_get(int device, void *bytes, const void *block, size_t count)
{
    const int before = dn_host_current();
    dn_host_current() = device;
    {
        const dn_host_access open;
        std::memcpy(bytes, block, count);
    }
    dn_host_current() = before;
}

/* How many there are. */
DN_HOST_EXPORT long dn_host_blocks()
{
    dn_host_memory &memory = dn_host_all();
    const std::lock_guard<std::mutex> guard(memory.lock);
    return (long)memory.blocks.size();
}

DN_HOST_EXPORT long dn_host_copies()
{
    return dn_host_to_host().count;
}

DN_HOST_EXPORT long dn_host_copied_bytes()
{
    return dn_host_to_host().bytes;
}

/* Whether the bytes lie in one block of the current device. */
inline bool dn_host_is_here(const void *values, size_t bytes)
{
    dn_host_memory &memory = dn_host_all();
    const char *at = (const char *)values;
    const std::lock_guard<std::mutex> guard(memory.lock);
    auto found = memory.blocks.upper_bound(at);
    if (found == memory.blocks.begin()) return false;
    --found;
    return found->second.device == dn_host_current() &&
           at + bytes <= found->first + found->second.bytes;
}

#endif
