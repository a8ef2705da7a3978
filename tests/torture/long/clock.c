/* A wall clock of its own for one process (LD_PRELOAD): the true one and the seconds that stand in the file
 * that $CLOCK_FILE names, which is read again ten times a second. Time that only passes stays true.
 *
 * libfaketime does not do here. It hangs before main with an allocator that asks for the time while it begins
 * (jemalloc). And it leaves C11's cnd_timedwait alone, by which librdkafka waits: a deadline of the false
 * clock became an hour of true waiting. What the kernel is asked for here is true time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static int true_time(clockid_t clock, struct timespec *now) { return (int)syscall(SYS_clock_gettime, clock, now); }

/* Allocates nothing: an allocator may be what asks. */
static time_t ahead(void) {
    static time_t seconds;
    static long read_at = -1;
    struct timespec now;
    true_time(CLOCK_MONOTONIC, &now);
    long tenths = now.tv_sec * 10 + now.tv_nsec / 100000000;
    if (__atomic_exchange_n(&read_at, tenths, __ATOMIC_RELAXED) != tenths) {
        const char *path = getenv("CLOCK_FILE");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (file >= 0) {
            char text[32] = {0};
            if (read(file, text, sizeof text - 1) > 0) __atomic_store_n(&seconds, strtol(text, NULL, 10), __ATOMIC_RELAXED);
            close(file);
        }
    }
    return __atomic_load_n(&seconds, __ATOMIC_RELAXED);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = true_time(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}

int timespec_get(struct timespec *now, int base) { return clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0; }

/* A deadline is of the wall clock, or of a clock that counts from the machine's start, which was not decades ago. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec truly = *until;
    if (truly.tv_sec < 1000000000) return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &truly);
    truly.tv_sec -= ahead();
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &truly);
}

/* Those of C11 are those of POSIX by another name in the GNU C library. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    int result = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
}
