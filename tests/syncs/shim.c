/*
 * Stands between a program and its disk (LD_PRELOAD). SYNCS_FOLDER is where the test speaks with it:
 *
 *   log          a line for each sync, when it is over: the file's name, and `done` or `failed`; and `held` before that,
 *                where it has to wait
 *   hold-NAME    while it is there, syncs of the file NAME wait
 *   fail-NAME    while it is there, they fail with EIO, and nothing of them is on the disk
 *   disk/NAME    the file as it is after a loss of power: as it was when its last good sync began. One that was deleted
 *                is gone from there once its folder was synced
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Of two syncs at a time, the later one has the last word on what is on the disk. */
static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;

static int is_asked(const char *folder, const char *what, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s-%s", folder, what, name);
    return access(path, F_OK) == 0;
}

static void tell(const char *folder, const char *name, const char *what)
{
    char path[PATH_MAX], line[NAME_MAX + 16];
    snprintf(path, sizeof path, "%s/log", folder);
    int length = snprintf(line, sizeof line, "%s %s\n", name, what);
    int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0 || write(log, line, length) != length)
        abort();
    close(log);
}

static void copy(int from, const char *path)
{
    static char block[1 << 16];
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0)
        abort();
    for (off_t at = 0;;) {
        ssize_t count = pread(from, block, sizeof block, at);
        if (count < 0 || write(to, block, count) != count)
            abort();
        if (count == 0)
            break;
        at += count;
    }
    close(to);
}

static int keep(int file, long call, const char *folder, const char *name)
{
    char now[PATH_MAX], kept[PATH_MAX];
    snprintf(now, sizeof now, "%s/now", folder);
    snprintf(kept, sizeof kept, "%s/disk/%s", folder, name);
    pthread_mutex_lock(&disk);
    copy(file, now);
    int status = syscall(call, file);
    if (status == 0 && rename(now, kept) != 0)
        abort();
    pthread_mutex_unlock(&disk);
    return status;
}

static void forget_deleted(const char *folder, int directory)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/disk", folder);
    pthread_mutex_lock(&disk);
    DIR *kept = opendir(path);
    if (kept == NULL)
        abort();
    for (struct dirent *entry; (entry = readdir(kept)) != NULL;)
        if (entry->d_type == DT_REG && faccessat(directory, entry->d_name, F_OK, 0) != 0)
            unlinkat(dirfd(kept), entry->d_name, 0);
    closedir(kept);
    pthread_mutex_unlock(&disk);
}

static int synchronize(int file, long call)
{
    const char *folder = getenv("SYNCS_FOLDER");
    char link[64], path[PATH_MAX];
    struct stat about;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (folder == NULL || length < 0 || fstat(file, &about) != 0)
        return syscall(call, file);
    if (S_ISDIR(about.st_mode)) {
        forget_deleted(folder, file);
        return syscall(call, file);
    }
    path[length] = 0;
    const char *name = strrchr(path, '/') + 1;
    if (is_asked(folder, "hold", name))
        tell(folder, name, "held");
    while (is_asked(folder, "hold", name))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    int status = -1;
    if (is_asked(folder, "fail", name))
        errno = EIO;
    else
        status = keep(file, call, folder, name);
    int error = errno;
    tell(folder, name, status == 0 ? "done" : "failed");
    errno = error;
    return status;
}

int fsync(int file)
{
    return synchronize(file, SYS_fsync);
}

int fdatasync(int file)
{
    return synchronize(file, SYS_fdatasync);
}
