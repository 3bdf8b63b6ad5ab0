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

# Bytes of a file that a decoder writes (a cached picture), and files that it has open.
LARGEST_FILE = 256 * 2**20
OPEN_FILES = 256

# By machine: the architecture as Linux's audit names it, and the numbers of socket, io_uring_setup and seccomp.
_CALLS = {"x86_64": (0xC000003E, 41, 425, 317), "aarch64": (0xC00000B7, 198, 425, 277)}
_NETWORKS = (2, 10, 16, 17)  # AF_INET, AF_INET6, AF_NETLINK, AF_PACKET
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_OTHER_ABI = 0x40000000


def restrict() -> None:
    """Limit this process and those that it starts, as far as the system can; there is no way back."""
    if sys.platform == "win32":
        return
    import resource

    for what, most in (
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, LARGEST_FILE), (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):  # fmt: skip
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
    n = len(_NETWORKS)
    allow, refuse = 7 + n, 8 + n

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
        *[step(_EQUAL, family, refuse - 8 - place, 0) for place, family in enumerate(_NETWORKS)],
        step(_RETURN, _ALLOW),
        step(_RETURN, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in steps)
