"""The clock of the wall as a process sees it, set forward and back while it runs.

A library before libc's own adds what stands in a file to every answer; the monotonic clocks stay as they are.
"""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile long *ahead;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("AHEAD_FILE"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    ahead = page == MAP_FAILED ? NULL : page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (!answer && clock == CLOCK_REALTIME && ahead) now->tv_sec += *ahead;
    return answer;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


class JumpingClock:
    """The clock of all processes that have `env`. Units: seconds ahead of the real one."""

    def __init__(self, folder: Path) -> None:
        self._ahead, library = folder / "ahead", folder / "ahead.so"
        compiler = shutil.which("cc")
        if compiler is None or sys.platform != "linux":
            pytest.skip("no clock can be set here without a compiler")
        self._ahead.write_bytes(struct.pack("l", 0))
        (folder / "ahead.c").write_text(_SOURCE)
        made = [compiler, "-shared", "-fPIC", "-O1", "-o", library, folder / "ahead.c", "-ldl"]
        subprocess.run(made, check=True, capture_output=True)
        self.env: Mapping[str, str] = {"LD_PRELOAD": str(library), "AHEAD_FILE": str(self._ahead)}

    def jump(self, ahead_s: int) -> None:
        """Have the clock stand so far ahead from now on, or behind."""
        with self._ahead.open("r+b") as file:
            os.pwrite(file.fileno(), struct.pack("l", ahead_s), 0)
