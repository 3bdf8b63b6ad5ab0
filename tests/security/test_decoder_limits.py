"""What a process that opens files of others can do."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from labeling.images import process_limits
from labeling.images.decoder_pool import Decoders
from labeling.images.rendering import Rendering
from tests.parts import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="Only Linux cuts a process from the network.")
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits.")


def restricted(code: str, folder: Path) -> str:
    """Run code in a restricted process. Return what it prints."""
    program = (
        f"import errno, os, resource, socket, sys, threading\n"
        f"from labeling.images import process_limits\n"
        f"process_limits.restrict()\n{code}"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60,
                          env={"PYTHONPATH": str(ROOT), "FOLDER": str(folder), "PATH": ""})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ATTEMPTS = {
    "IPv4": "socket.socket(socket.AF_INET)",
    "IPv6": "socket.socket(socket.AF_INET6)",
    "datagrams": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "virtual machines": "socket.socket(socket.AF_VSOCK)",
    "a name": "socket.create_connection(('127.0.0.1', 9))",
}


@linux
@pytest.mark.attack("networks out of decoders")
@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_network(name: str, tmp_path: Path) -> None:
    code = f"try:\n    {ATTEMPTS[name]}\n    print('connected')\nexcept PermissionError:\n    print('refused')"
    assert restricted(code, tmp_path) == "refused"


@linux
def test_no_network_from_threads_and_programs_that_it_starts(tmp_path: Path) -> None:
    code = """
import subprocess
found = []
def attempt():
    try:
        socket.socket(); found.append("connected")
    except PermissionError:
        found.append("refused")
thread = threading.Thread(target=attempt); thread.start(); thread.join()
child = subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], capture_output=True, text=True)
found.append("refused" if "PermissionError" in child.stderr else "connected")
print(*found)
"""
    assert restricted(code, tmp_path) == "refused refused"


@linux
def test_threads_from_before_are_restricted_as_well(tmp_path: Path) -> None:
    code = """if True:
        import socket, threading
        from labeling.images import process_limits
        go, found = threading.Event(), []
        def attempt():
            go.wait()
            try:
                socket.socket(); found.append("connected")
            except PermissionError:
                found.append("refused")
        thread = threading.Thread(target=attempt); thread.start()
        process_limits.restrict(); go.set(); thread.join(); print(*found)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "refused", done.stderr


@posix
@pytest.mark.attack("resources of decoders")
def test_no_large_file_and_no_core(tmp_path: Path) -> None:
    code = """
print(resource.getrlimit(resource.RLIMIT_CORE) == (0, 0))
with open(os.environ["FOLDER"] + "/large", "wb") as stream:
    try:
        stream.truncate(process_limits.LARGEST_FILE + 1)
    except OSError as error:
        print(error.errno == errno.EFBIG)
try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    print(os.getuid() == 0)
except (ValueError, OSError):
    print(True)
files = []
try:
    while True:
        files.append(open(os.devnull))
except OSError as error:
    files.clear(); print(error.errno == errno.EMFILE)
"""
    assert restricted(code, tmp_path) == "True\nTrue\nTrue\nTrue"


@linux
def test_real_decoders_are_restricted(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    decoders = Decoders(1, seconds=60, megabytes=1000)
    try:
        content, _ = decoders.picture(tmp_path / "a.png", 32, Rendering())
        assert content
        [decoder] = [
            child for child in psutil.Process().children(recursive=True)
            if child.pid not in before and any("decoder_process" in part for part in child.cmdline())
        ]  # fmt: skip
        status = Path(f"/proc/{decoder.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        limits = Path(f"/proc/{decoder.pid}/limits").read_text()
        facts: dict[str, Any] = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
        assert facts["Max core file size"] == ["0", "0"]
        assert facts["Max file size"] == [str(process_limits.LARGEST_FILE)] * 2
    finally:
        decoders.end()
