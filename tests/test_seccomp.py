"""The filter of system calls, run by a small interpreter of the kernel's virtual machine."""

import re
import struct
from pathlib import Path

import pytest
from many_cases import case

from sld.board.programs.seccomp import (
    ALLOW,
    ARCHITECTURES,
    ENOSYS,
    ENOTTY,
    EPERM,
    KILL,
    REFUSE,
    filter_program,
    numbers,
)

MACHINES = list(ARCHITECTURES)
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
# numbers that the list of allowed calls does not hold, from the kernel's tables
DANGEROUS = {
    "x86_64": {
        **{"socket": 41, "connect": 42, "sendto": 44, "bind": 49, "socketpair": 53, "fork": 57, "vfork": 58},
        **{"execve": 59, "execveat": 322, "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129},
        **{"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_open": 434},
        **{"mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308},
        **{"bpf": 321, "keyctl": 250, "add_key": 248, "memfd_create": 319, "io_uring_setup": 425, "userfaultfd": 323},
        **{"perf_event_open": 298, "chmod": 90, "fchmodat": 268, "chown": 92, "setxattr": 188, "utimensat": 280},
        **{"truncate": 76, "mkdir": 83, "symlink": 88, "link": 86, "mknod": 133, "setuid": 105, "setsid": 112},
        **{
            "setrlimit": 160,
            "shmget": 29,
            "msgget": 68,
            "seccomp": 317,
            "open_by_handle_at": 304,
            "inotify_init1": 294,
        },
    },
    "aarch64": {
        **{"socket": 198, "connect": 203, "sendto": 206, "bind": 200, "socketpair": 199, "execve": 221},
        **{"execveat": 281, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "ptrace": 117},
        **{"process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "pidfd_open": 434, "mount": 40},
        **{"umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268, "bpf": 280, "keyctl": 219},
        **{"add_key": 217, "memfd_create": 279, "io_uring_setup": 425, "userfaultfd": 282, "perf_event_open": 241},
        **{"fchmodat": 53, "fchownat": 54, "setxattr": 5, "utimensat": 88, "truncate": 45, "mkdirat": 34},
        **{"symlinkat": 36, "linkat": 37, "mknodat": 33, "setuid": 146, "setsid": 157, "setrlimit": 164},
        **{"shmget": 194, "msgget": 186, "seccomp": 277, "open_by_handle_at": 265, "inotify_init1": 26},
    },
}


def decide(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Return what the filter says, as the kernel would run it."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", program))
    at, value = 0, 0
    while True:
        code, true, false, k = instructions[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        elif code == 0x54:
            value &= k
        elif code == 0x06:
            return int(k)
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += true if holds else false


def ask(machine: str, number: int, *arguments: int) -> int:
    return decide(filter_program(machine), ARCHITECTURES[machine], number, *arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"no {header} here (linux-libc-dev)")
    text = header.read_text()
    found = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    found.setdefault("newfstatat", found.get("fstatat", -1))
    assert {n: v for n, v in numbers(machine).items() if found.get(n) != v} == {}
    assert {n: v for n, v in DANGEROUS[machine].items() if found.get(n) != v} == {}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_is_allowed(machine: str) -> None:
    conditional = {"open", "openat", "fcntl", "ioctl", "prctl", "prlimit64", "clone"}
    verdicts = {name: ask(machine, number) for name, number in numbers(machine).items() if name not in conditional}
    assert set(verdicts.values()) == {ALLOW}


def test_what_is_dangerous_is_refused() -> None:
    for machine, name in ((machine, name) for machine, names in DANGEROUS.items() for name in names):
        with case((machine, name)):
            assert ask(machine, DANGEROUS[machine][name], 2**16, 2, 3) == REFUSE + EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_but_the_list_is_allowed(machine: str) -> None:
    listed = set(numbers(machine).values())
    others = [n for n in range(600) if n not in listed]
    assert {ask(machine, n) for n in others} == {REFUSE + EPERM, REFUSE + ENOSYS}


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    program = filter_program(machine)
    assert decide(program, 0x40000003, numbers(machine)["read"]) == KILL  # i386
    if machine == "x86_64":
        assert decide(program, ARCHITECTURES[machine], 0x40000000 + numbers(machine)["read"]) == KILL  # x32


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_may_start_and_processes_may_not(machine: str) -> None:
    clone = numbers(machine)["clone"]
    assert ask(machine, clone, 0x3D0F00) == ALLOW  # what pthread_create asks for
    assert ask(machine, clone, 0x01200011) == REFUSE + EPERM  # what fork asks for
    assert ask(machine, clone, 0x3D0F00 | 0x00020000) == REFUSE + EPERM  # a thread in a mount namespace
    assert ask(machine, 435) == REFUSE + ENOSYS  # clone3: then the C library tries clone


@pytest.mark.parametrize("machine", MACHINES)
def test_a_file_opened_for_reading_cannot_be_emptied(machine: str) -> None:
    openat = numbers(machine)["openat"]
    assert ask(machine, openat, 0, 0, 0o1000) == REFUSE + EPERM
    for flags in (0, 0o1101, 0o1102, 0o2000000):  # reading; writing a new file; both; close on exec
        assert ask(machine, openat, 0, 0, flags) == ALLOW
    if machine == "x86_64":
        assert ask(machine, 2, 0, 0o1000) == REFUSE + EPERM and ask(machine, 2, 0, 0o1101) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_some_requests_are_refused_by_argument(machine: str) -> None:
    known = numbers(machine)
    assert ask(machine, known["fcntl"], 0, 3) == ALLOW and ask(machine, known["fcntl"], 0, 8) == REFUSE + EPERM
    assert (
        ask(machine, known["ioctl"], 0, 0x5413) == ALLOW and ask(machine, known["ioctl"], 0, 0x5412) == REFUSE + ENOTTY
    )
    assert ask(machine, known["prctl"], 15) == ALLOW and ask(machine, known["prctl"], 22) == REFUSE + EPERM
    assert ask(machine, known["prlimit64"], 0) == ALLOW and ask(machine, known["prlimit64"], 1) == REFUSE + EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_is_short_enough_for_the_kernel(machine: str) -> None:
    assert len(filter_program(machine)) // 8 <= 4096
