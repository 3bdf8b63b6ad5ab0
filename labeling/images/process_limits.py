"""Limit what a process that opens files of others can do: no network, no large files, no core dump.

A file can be made to exploit an error in a library that reads it. What such code may do is limited by the process that
it runs in.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

# Bytes of a file that a decoder writes (a cached picture), and files that a process has open.
LARGEST_FILE = 256 * 2**20
OPEN_FILES = 256

# By machine: the architecture as Linux's audit names it, and the numbers of socket, io_uring_setup and seccomp.
_CALLS = {"x86_64": (0xC000003E, 41, 425, 317), "aarch64": (0xC00000B7, 198, 425, 277)}
_LOCAL = 1  # AF_UNIX; all other families reach the network or the kernel
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_OTHER_ABI = 0x40000000


def restrict(largest_file: int = LARGEST_FILE, memory: int | None = None) -> None:
    """Limit this process and those that it starts, as far as the system can; there is no way back.

    ``largest_file`` and ``memory`` are bytes: of a file that it writes, and of memory that it allocates.
    """
    if sys.platform == "win32":
        return
    import resource

    limits = {
        resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: largest_file, resource.RLIMIT_NOFILE: OPEN_FILES,
    }  # fmt: skip
    if memory is not None:
        limits[resource.RLIMIT_DATA] = memory
    for what, most in limits.items():
        hard = resource.getrlimit(what)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))
    if sys.platform == "linux":
        cut_network()


def cut_network() -> bool:
    """Refuse new network connections in all threads of this process. Return False where Linux cannot do it."""
    if platform.machine() not in _CALLS:
        return False
    architecture, socket, io_uring, seccomp = _CALLS[platform.machine()]
    program = _program(architecture, socket, io_uring)
    libc = ctypes.CDLL(None, use_errno=True)
    filters = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(filters))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return bool(libc.syscall(seccomp, _SET_FILTER, _ALL_THREADS, ctypes.create_string_buffer(header, len(header))) == 0)


def _program(architecture: int, socket: int, io_uring: int) -> bytes:
    """Return the filter: instructions of Berkeley Packet Filter over number, architecture and arguments of a call."""
    allow, refuse = 8, 9

    def step(code: int, value: int, then: int = 0, other: int = 0) -> tuple[int, int, int, int]:
        return code, then, other, value

    steps = [
        step(_LOAD, 4),
        step(_EQUAL, architecture, 0, refuse - 2),
        step(_LOAD, 0),
        step(_AT_LEAST, _OTHER_ABI, refuse - 4, 0),
        step(_EQUAL, io_uring, refuse - 5, 0),
        step(_EQUAL, socket, 0, allow - 6),
        step(_LOAD, 16),
        step(_EQUAL, _LOCAL, 0, refuse - 8),
        step(_RETURN, _ALLOW),
        step(_RETURN, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in steps)
