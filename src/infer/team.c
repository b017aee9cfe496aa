/* See team.h. */
#include "infer/team.h"

#include "core/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

typedef struct dn_helper {
    dn_team *team;
    int32_t thread;
    pthread_t handle;
} dn_helper;

/* `open` says what there is to do: the phase's number, and below it the tasks that nobody claimed
 * yet, or that no phase is left. A phase cannot end while one of its tasks is claimed and not done:
 * who holds a task may read `work`, `tasks` and what `next` set up. */
struct dn_team {
    const dn_team_work *work;
    int32_t tasks; /* of this phase */
    atomic_uint_fast64_t open;
    atomic_int done; /* tasks of this phase */
    atomic_bool closes;
    pthread_mutex_t mutex; /* of those who sleep */
    pthread_cond_t changed;
    atomic_int asleep;
    atomic_int turns; /* how long a thread waits for tasks before it sleeps */
    pid_t process;
    int32_t helper_count;
    dn_helper helpers[];
};

static const uint_fast64_t over = 1u << 31;

static uint32_t phase_of(uint_fast64_t open)
{
    return (uint32_t)(open >> 32);
}

static int32_t tasks_of(uint_fast64_t open)
{
    return (int32_t)(open & (over - 1));
}

static void wake(dn_team *team)
{
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
}

/* By one thread, while no task is claimed. A single task it will do itself: nobody is woken for it.
 */
static void open_next(dn_team *team)
{
    const uint_fast64_t phase = phase_of(atomic_load(&team->open)) + 1u;
    const int32_t tasks = team->work->next(team->work->data);
    team->tasks = tasks;
    atomic_store(&team->done, 0);
    atomic_store(&team->open, phase << 32 | (tasks > 0 ? (uint_fast64_t)tasks : over));
    if (tasks != 1 && atomic_load(&team->asleep) > 0) wake(team);
}

/* Claims a task; false: none is open in the phase that *open says. */
static bool claim(dn_team *team, uint_fast64_t *open, int32_t *task)
{
    *open = atomic_load(&team->open);
    while (tasks_of(*open) > 0) {
        if (!atomic_compare_exchange_weak(&team->open, open, *open - 1)) continue;
        *task = team->tasks - tasks_of(*open);
        return true;
    }
    return false;
}

/* ---- waiting ---- */

enum {
    DN_TURNS_LEAST = 1 << 9,
    DN_TURNS_FIRST = 1 << 13,
    DN_TURNS_MOST = 1 << 14,
    DN_TURNS_YIELD = 64
};

/* Now and then somebody else gets the core: perhaps the thread that this one waits for. */
static inline void turn(int32_t i)
{
    if (i % DN_TURNS_YIELD == DN_TURNS_YIELD - 1) sched_yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_in(dn_team *team, uint32_t phase)
{
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->asleep, 1);
    while (phase_of(atomic_load(&team->open)) == phase)
        pthread_cond_wait(&team->changed, &team->mutex);
    atomic_fetch_sub(&team->asleep, 1);
    pthread_mutex_unlock(&team->mutex);
}

/* Until another phase than this is open. What helped is allowed longer the next time. */
static void wait_in(dn_team *team, uint32_t phase)
{
    const int turns = atomic_load_explicit(&team->turns, memory_order_relaxed);
    for (int32_t i = 0; i < turns; i++) {
        if (phase_of(atomic_load_explicit(&team->open, memory_order_relaxed)) != phase) {
            const int more = turns < DN_TURNS_MOST ? 2 * turns : turns;
            atomic_store_explicit(&team->turns, more, memory_order_relaxed);
            return;
        }
        turn(i);
    }
    const int less = turns > DN_TURNS_LEAST ? turns / 2 : turns;
    atomic_store_explicit(&team->turns, less, memory_order_relaxed);
    sleep_in(team, phase);
}

/* ---- working ---- */

/* Until a phase has no open task; which one. */
static uint_fast64_t take_part(dn_team *team, int32_t thread)
{
    uint_fast64_t open;
    int32_t task;
    while (claim(team, &open, &task)) {
        const int32_t tasks = team->tasks;
        team->work->run(team->work->data, task, thread);
        if (atomic_fetch_add(&team->done, 1) + 1 == tasks) open_next(team);
    }
    return open;
}

void dn_team_run(dn_team *team, const dn_team_work *work)
{
    team->work = work;
    open_next(team);
    for (;;) {
        const uint_fast64_t open = take_part(team, 0);
        if (open & over) return;
        wait_in(team, phase_of(open));
    }
}

static void *help(void *data)
{
    const dn_helper *helper = data;
    dn_team *team = helper->team;
    for (;;) {
        const uint_fast64_t open = take_part(team, helper->thread);
        if (atomic_load(&team->closes)) return NULL;
        wait_in(team, phase_of(open));
    }
}

dn_team *dn_team_new(int32_t threads)
{
    const size_t bytes = sizeof(dn_team) + (size_t)threads * sizeof(dn_helper);
    dn_team *team = dn_alloc(bytes);
    if (!team) return NULL;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->changed, NULL);
    atomic_store(&team->turns, DN_TURNS_FIRST);
    atomic_store(&team->open, over);
    team->process = getpid();
    for (int32_t i = 1; i < threads; i++) {
        dn_helper *helper = &team->helpers[team->helper_count];
        *helper = (dn_helper){.team = team, .thread = i};
        if (pthread_create(&helper->handle, NULL, help, helper) != 0) break;
        team->helper_count++;
    }
    return team;
}

void dn_team_free(dn_team *team)
{
    if (!team) return;
    const uint_fast64_t phase = phase_of(atomic_load(&team->open)) + 1u;
    atomic_store(&team->closes, true);
    atomic_store(&team->open, phase << 32 | over);
    if (team->process == getpid()) { /* a forked process has the memory, not the threads */
        wake(team);
        for (int32_t i = 0; i < team->helper_count; i++)
            pthread_join(team->helpers[i].handle, NULL);
    }
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->mutex);
    dn_free(team);
}
