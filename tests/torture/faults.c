/* Loaded before libc (LD_PRELOAD): counts the calls that change files below a folder, and at the n-th of them kills the
 * process group or lets the call fail. Python, Arrow (C++), Delta (Rust) and DuckDB all write through these calls.
 *
 * TORTURE_ROOT    the folder, absolute and without links
 * TORTURE_LOG     a file that gets one line a call: its number, its name, its path
 * TORTURE_AT      the call at which it happens, from 1; 0 only counts
 * TORTURE_ACTION  "kill", or the number of the error that the call gives
 * TORTURE_STICKY  "1": every later call that takes room fails too, as on a full disk
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[4096];
static size_t root_length;
static int log_file = -1, error_number, sticky;
static long at;
static atomic_long seen;

__attribute__((constructor)) static void start(void) {
    const char *value = getenv("TORTURE_ROOT");
    if (!value) return;
    strncpy(root, value, sizeof root - 1);
    if ((value = getenv("TORTURE_AT"))) at = atol(value);
    if ((value = getenv("TORTURE_ACTION"))) error_number = atoi(value); /* 0 for "kill" */
    sticky = (value = getenv("TORTURE_STICKY")) && *value == '1';
    if ((value = getenv("TORTURE_LOG")))
        log_file = (int)syscall(SYS_openat, AT_FDCWD, value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    root_length = strlen(root);
}

static int inside(const char *path) {
    return root_length && path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static const char *path_of(int file, char *buffer, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, size - 1);
    if (length < 0) return NULL;
    buffer[length] = 0;
    return buffer;
}

static void die(void) {
    kill(0, SIGKILL);
    for (;;) pause();
}

/* 1 when the call is to fail. `half_written` does part of a write, for a process that dies in the middle of it. */
static int step(const char *name, const char *path, int takes_room, int file, const void *data, size_t size) {
    if (!inside(path)) return 0;
    int before = errno;
    long number = atomic_fetch_add(&seen, 1) + 1;
    if (log_file >= 0) {
        char line[4400];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", number, name, path + root_length);
        syscall(SYS_write, log_file, line, length);
    }
    if (at && number == at && !error_number) {
        if (data && size > 1) syscall(SYS_write, file, data, size / 2);
        die();
    }
    if (at && error_number && (number == at || (sticky && takes_room && number > at))) {
        errno = error_number;
        return 1;
    }
    errno = before;
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OPEN(name)                                                                        \
    int name(const char *path, int flags, ...) {                                          \
        mode_t mode = 0;                                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                                              \
            va_list list;                                                                 \
            va_start(list, flags);                                                        \
            mode = va_arg(list, mode_t);                                                  \
            va_end(list);                                                                 \
        }                                                                                 \
        if ((flags & (O_CREAT | O_TRUNC)) && step("open", path, 1, -1, NULL, 0)) return -1; \
        return REAL(name)(path, flags, mode);                                             \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                                      \
    int name(int folder, const char *path, int flags, ...) {                              \
        mode_t mode = 0;                                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                                              \
            va_list list;                                                                 \
            va_start(list, flags);                                                        \
            mode = va_arg(list, mode_t);                                                  \
            va_end(list);                                                                 \
        }                                                                                 \
        if ((flags & (O_CREAT | O_TRUNC)) && step("open", path, 1, -1, NULL, 0)) return -1; \
        return REAL(name)(folder, path, flags, mode);                                     \
    }
OPENAT(openat)
OPENAT(openat64)

#define FILE_CALL(result, name, word, room, data, size, parameters, arguments)             \
    result name parameters {                                                              \
        char buffer[4200];                                                                \
        if (root_length && step(word, path_of(file, buffer, sizeof buffer), room, file, data, size)) return -1; \
        return REAL(name) arguments;                                                      \
    }
FILE_CALL(ssize_t, write, "write", 1, data, size, (int file, const void *data, size_t size), (file, data, size))
FILE_CALL(ssize_t, pwrite, "write", 1, NULL, 0, (int file, const void *data, size_t size, off_t offset), (file, data, size, offset))
FILE_CALL(ssize_t, pwrite64, "write", 1, NULL, 0, (int file, const void *data, size_t size, off64_t offset), (file, data, size, offset))
FILE_CALL(ssize_t, writev, "write", 1, NULL, 0, (int file, const struct iovec *list, int count), (file, list, count))
FILE_CALL(int, fsync, "fsync", 1, NULL, 0, (int file), (file))
FILE_CALL(int, fdatasync, "fsync", 1, NULL, 0, (int file), (file))
FILE_CALL(int, ftruncate, "truncate", 1, NULL, 0, (int file, off_t size), (file, size))
FILE_CALL(int, ftruncate64, "truncate", 1, NULL, 0, (int file, off64_t size), (file, size))
FILE_CALL(int, fallocate, "allocate", 1, NULL, 0, (int file, int mode, off_t offset, off_t size), (file, mode, offset, size))

#define PATH_CALL(name, word, room, path, parameters, arguments)                           \
    int name parameters {                                                                 \
        if (step(word, path, room, -1, NULL, 0)) return -1;                               \
        return REAL(name) arguments;                                                      \
    }
PATH_CALL(rename, "rename", 0, to, (const char *from, const char *to), (from, to))
PATH_CALL(renameat, "rename", 0, to, (int a, const char *from, int b, const char *to), (a, from, b, to))
PATH_CALL(link, "link", 0, to, (const char *from, const char *to), (from, to))
PATH_CALL(linkat, "link", 0, to, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
PATH_CALL(unlink, "unlink", 0, path, (const char *path), (path))
PATH_CALL(unlinkat, "unlink", 0, path, (int folder, const char *path, int flags), (folder, path, flags))
PATH_CALL(rmdir, "rmdir", 0, path, (const char *path), (path))
PATH_CALL(mkdir, "mkdir", 1, path, (const char *path, mode_t mode), (path, mode))
PATH_CALL(mkdirat, "mkdir", 1, path, (int folder, const char *path, mode_t mode), (folder, path, mode))
