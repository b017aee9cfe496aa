/* What threads ask cuda_runtime.h for, as a GPU does it: in each thread's order, but at any time.
 *
 * Without more, work is done when it is asked for. With DN_HOST_CUDA_LATE=1 in the environment it
 * is done as late as CUDA allows: each thread's stream, and each that was made, is a queue, whose
 * work is done when somebody waits for it, or for an event behind it, and what follows an event of
 * another stream lets that one go on first. Host code that reads what it has not waited for, or
 * writes what a copy has still to read, and streams that do not follow each other where they must,
 * then give other results.
 */
#ifndef DN_TESTS_HOST_CUDA_QUEUES_H
#define DN_TESTS_HOST_CUDA_QUEUES_H

#include "devices.h"

#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

static inline bool dn_host_late()
{
    static const bool late = std::getenv("DN_HOST_CUDA_LATE") != nullptr;
    return late;
}

struct dn_host_queue {
    struct item {
        int device;
        std::function<void()> work;
    };
    std::deque<item> items;
    long asked = 0, done = 0;
};

typedef std::shared_ptr<dn_host_queue> dn_host_stream;

/* All of them, whose thread may have ended; one lock for all, which who works holds. */
struct dn_host_streams {
    std::recursive_mutex lock;
    std::vector<dn_host_stream> all;
};

inline dn_host_streams &dn_host_every()
{
    static dn_host_streams *streams = new dn_host_streams;
    return *streams;
}

/* A stream that was made, to which the thread's work goes now; NULL: to its own. */
inline const dn_host_stream *&dn_host_chosen()
{
    static thread_local const dn_host_stream *chosen = nullptr;
    return chosen;
}

struct dn_host_on {
    explicit dn_host_on(const dn_host_stream *stream)
    {
        dn_host_chosen() = stream;
    }
    ~dn_host_on()
    {
        dn_host_chosen() = nullptr;
    }
};

inline const dn_host_stream &dn_host_own()
{
    static thread_local dn_host_stream own;
    if (dn_host_chosen()) return *dn_host_chosen();
    if (!own) {
        own = std::make_shared<dn_host_queue>();
        const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
        dn_host_every().all.push_back(own);
    }
    return own;
}

static inline void dn_host_put_off(const std::function<void()> &work)
{
    const dn_host_stream &own = dn_host_own();
    const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
    own->items.push_back({dn_host_current(), work});
    own->asked++;
}

/* Does the stream's work up to place `position`. */
static inline void dn_host_reach(const dn_host_stream &stream, long position)
{
    const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
    const int before = dn_host_current();
    while (stream->done < position) {
        const dn_host_queue::item next = std::move(stream->items.front());
        stream->items.pop_front();
        dn_host_current() = next.device;
        next.work();
        stream->done++;
    }
    dn_host_current() = before;
}

/* All that this thread has asked for. */
static inline void dn_host_drain()
{
    if (dn_host_late()) dn_host_reach(dn_host_own(), dn_host_own()->asked);
}

/* All that anybody has asked for. */
static inline void dn_host_drain_all()
{
    if (!dn_host_late()) return;
    const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
    for (const dn_host_stream &stream : dn_host_every().all) dn_host_reach(stream, stream->asked);
}

/* How much this thread has asked for that is not done yet. */
DN_HOST_EXPORT long dn_host_put_off_work()
{
    const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
    return dn_host_own()->asked - dn_host_own()->done;
}

/* A place in a stream; none: it was never recorded. */
struct dn_host_event {
    dn_host_stream stream;
    long position = 0;
};

static inline void dn_host_record(dn_host_event *event)
{
    if (!dn_host_late()) return;
    const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
    event->stream = dn_host_own();
    event->position = event->stream->asked;
}

static inline dn_host_event dn_host_recorded(const dn_host_event *event)
{
    const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
    return *event;
}

static inline void dn_host_wait_for(const dn_host_event &event)
{
    if (event.stream) dn_host_reach(event.stream, event.position);
}

#endif
