/* Threads that go through phases of tasks together.
 *
 * They claim the tasks of a phase one by one; who ends the last one sets up the next phase. Nobody
 * waits for a thread that has no task: one that sleeps, or that another program keeps from running,
 * is not missed until it comes back, and the caller goes on as soon as all is done. Threads without
 * a task turn a little while, as long as that has helped lately, and then sleep, so that two
 * threads on one core do not take each other's time.
 *
 * The threads are the team's own, not OpenMP's, whose regions end when the last of them arrives.
 */
#ifndef DN_INFER_TEAM_H
#define DN_INFER_TEAM_H

#include <stdint.h>

typedef struct dn_team dn_team;

/* Threads, the caller's among them; fewer where the system gives no more. NULL: no memory. */
dn_team *dn_team_new(int32_t threads);
void dn_team_free(dn_team *team); /* NULL is allowed */

/* What a team works on. Which thread does a task must change nothing in its result. */
typedef struct dn_team_work {
    int32_t (*next)(void *data); /* sets up the next phase; its tasks, 0: all is done */
    void (*run)(void *data, int32_t task, int32_t thread);
    void *data;
} dn_team_work;

/* One caller at a time. */
void dn_team_run(dn_team *team, const dn_team_work *work);

#endif
