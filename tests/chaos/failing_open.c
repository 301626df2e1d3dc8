/* Makes opening a checkpoint's data file for reading fail with EIO, as a file
   server does that is away. To be loaded by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

static int fails(const char *path, int flags) {
  return path && strstr(path, "/ckpt-") && strstr(path, ".data-0") &&
         (flags & O_ACCMODE) == O_RDONLY;
}

#define OPEN(name)                                               \
  int name(const char *path, int flags, ...) {                   \
    va_list rest;                                                \
    va_start(rest, flags);                                       \
    int mode = va_arg(rest, int);                                \
    va_end(rest);                                                \
    if (fails(path, flags)) {                                    \
      errno = EIO;                                               \
      return -1;                                                 \
    }                                                            \
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
    return next(path, flags, mode);                              \
  }
OPEN(open)
OPEN(open64)
