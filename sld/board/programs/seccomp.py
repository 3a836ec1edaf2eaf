"""The system calls that a submitted program may make, as a seccomp filter: a short list, and nothing else.

Everything that is not listed fails with "Operation not permitted": new processes, other programs, sockets, signals to
others, tracing and reading other processes, mounts, namespaces, keys, BPF, io_uring, memory files, changes of owner,
mode, times and attributes, folders and links. Calls that are newer than this list fail with "Function not implemented",
upon which the C library falls back to older ones.

A filter is a program for the kernel's small virtual machine (classic BPF): 8 bytes an instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

EPERM, ENOTTY, ENOSYS = 1, 25, 38
ALLOW, KILL = 0x7FFF0000, 0x80000000  # SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS
REFUSE = 0x00050000  # SECCOMP_RET_ERRNO, plus the number

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*, by `uname -m`
_X32 = 0x40000000  # calls of the x32 ABI carry this bit; a filter that forgets them has a hole
_NEWER = 435  # clone3: from here on the C library tries a call and falls back when it is told ENOSYS

# name, number on x86_64, number on aarch64 ("-": has none)
_FREE = """
read 0 63, readv 19 65, pread64 17 67, preadv 295 69, preadv2 327 286, write 1 64, writev 20 66, pwrite64 18 68,
pwritev 296 70, pwritev2 328 287, close 3 57, close_range 436 436, lseek 8 62, dup 32 23, dup2 33 -, dup3 292 24,
pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, fstat 5 80, fstatfs 138 44,
getdents 78 -, getdents64 217 61, ftruncate 77 46, fallocate 285 47, fsync 74 82, fdatasync 75 83, flock 73 32,
fadvise64 221 223, copy_file_range 326 285, sendfile 40 71,
creat 85 -, stat 4 -, lstat 6 -, newfstatat 262 79, statx 332 291, statfs 137 43, access 21 -, faccessat 269 48,
faccessat2 439 439, readlink 89 -, readlinkat 267 78, getcwd 79 17, chdir 80 49, fchdir 81 50, unlink 87 -,
unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276, umask 95 166,
mmap 9 222, munmap 11 215, mremap 25 216, mprotect 10 226, madvise 28 233, brk 12 214, msync 26 227, mincore 27 232,
membarrier 324 283, get_mempolicy 239 236,
futex 202 98, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, set_tid_address 218 96,
sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120,
sched_get_priority_max 146 125, sched_get_priority_min 147 126, getpriority 140 141, getcpu 309 168, arch_prctl 158 -,
gettid 186 178, getpid 39 172, getppid 110 173, getpgid 121 155, getpgrp 111 -, getsid 124 156, getuid 102 174,
geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158,
getrlimit 97 163, getrusage 98 165, times 100 153, sysinfo 99 179, uname 63 160, capget 125 90, getrandom 318 278,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigsuspend 130 133,
rt_sigtimedwait 128 137, sigaltstack 131 132, pause 34 -, restart_syscall 219 128, alarm 37 -, setitimer 38 103,
getitimer 36 102, nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114,
gettimeofday 96 169, time 201 -, timer_create 222 107, timer_settime 223 110, timer_gettime 224 108,
timer_getoverrun 225 109, timer_delete 226 111, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21,
epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, wait4 61 260,
waitid 247 95, exit 60 93, exit_group 231 94
"""
_CONDITIONAL = "open 2 -, openat 257 56, fcntl 72 25, ioctl 16 29, prctl 157 167, prlimit64 302 261, clone 56 220"

_TRUNCATE = 0o1000  # O_TRUNC: with a read-only mode it empties a file that old Landlocks think is only read
_THREAD = 0x00010000  # CLONE_THREAD
_NAMESPACES = 0x7E020000  # CLONE_NEW*, those that clone takes
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)  # not F_SETOWN and F_SETSIG, which send signals to others
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIO(N)CLEX
_PRCTL = (15, 16)  # PR_SET_NAME, PR_GET_NAME

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def numbers(machine: str) -> dict[str, int]:
    """Return the numbers of the system calls that the filter knows, by name."""
    column = 1 + list(ARCHITECTURES).index(machine)
    entries = (entry.split() for entry in f"{_FREE.strip()}, {_CONDITIONAL}".replace("\n", " ").split(","))
    return {entry[0]: int(entry[column]) for entry in entries if entry[column] != "-"}


def filter_program(machine: str) -> bytes:
    """Return the filter for `uname -m` as the kernel takes it: instructions of 8 bytes.

    Raises:
        KeyError: The machine is not in `ARCHITECTURES`.
    """
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions(machine))


def _instructions(machine: str) -> Iterator[Instruction]:
    known = numbers(machine)
    conditions = {entry.split()[0] for entry in _CONDITIONAL.split(", ")}
    yield _LOAD, 0, 0, _ARCH
    yield _EQUAL, 1, 0, ARCHITECTURES[machine]
    yield _RETURN, 0, 0, KILL
    yield _LOAD, 0, 0, _NUMBER
    if machine == "x86_64":
        yield _AT_LEAST, 0, 1, _X32
        yield _RETURN, 0, 0, KILL
    for name, number in known.items():
        body = list(_condition(name)) if name in conditions else [(_RETURN, 0, 0, ALLOW)]
        yield _EQUAL, 0, len(body), number
        yield from body
    yield _AT_LEAST, 0, 1, _NEWER
    yield _RETURN, 0, 0, REFUSE + ENOSYS
    yield _RETURN, 0, 0, REFUSE + EPERM


def _condition(name: str) -> Iterator[Instruction]:
    """Yield what decides by an argument; always ends with a return. The kernel reads only the low 32 bits of these."""
    if name in ("open", "openat"):
        yield _argument(1 if name == "open" else 2)
        yield _ANY_BIT, 0, 3, _TRUNCATE
        yield _AND, 0, 0, 3  # O_ACCMODE
        yield _EQUAL, 0, 1, 0  # O_RDONLY
        yield _RETURN, 0, 0, REFUSE + EPERM
        yield _RETURN, 0, 0, ALLOW
    elif name == "clone":
        yield _argument(0)
        yield _ANY_BIT, 1, 0, _NAMESPACES
        yield _ANY_BIT, 1, 0, _THREAD
        yield _RETURN, 0, 0, REFUSE + EPERM
        yield _RETURN, 0, 0, ALLOW
    else:
        argument, values, error = {
            "fcntl": (1, _FCNTL, EPERM),
            "ioctl": (1, _IOCTL, ENOTTY),
            "prctl": (0, _PRCTL, EPERM),
            "prlimit64": (0, (0,), EPERM),  # its own limits, which only go down
        }[name]
        yield _argument(argument)
        for value in values:
            yield _EQUAL, 0, 1, value
            yield _RETURN, 0, 0, ALLOW
        yield _RETURN, 0, 0, REFUSE + error


def _argument(index: int) -> Instruction:
    return _LOAD, 0, 0, _ARGUMENTS + 8 * index  # low half: both machines are little-endian
