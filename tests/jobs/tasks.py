"""Small jobs that only tests run; what they did is written to files, one line each, so that a kill loses none."""

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from hoshina.core.errors import Refusal
from hoshina.jobs.chunks import work_through
from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run


def note(run: Run, line: object) -> None:
    """Append a line to the file that the job's parameter ``notes`` names."""
    file = os.open(run.params["notes"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def notes(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


@background(kind="test_steps", queue="interactive", title="Steps", key="test_steps:{name}")
def steps(run: Run) -> dict[str, Any]:
    """Take ``n`` steps of ``pause`` seconds."""
    note(run, f"begun:{os.getpid()}:{time.time()}")
    run.stage("Stepping", total=run.params["n"])
    for _ in range(run.params["n"]):
        time.sleep(run.params["pause"])
        run.advance()
    return {"steps": run.params["n"]}


@background(kind="test_again", queue="interactive", title="Steps again", restartable=True, key="test_again:{name}")
def again(run: Run) -> dict[str, Any]:
    return steps(run)


@background(
    kind="test_gives_way", queue="interactive", title="Low", restartable=True, key="test_low:{name}", gives_way=True
)
def low(run: Run) -> dict[str, Any]:
    return steps(run)


@background(kind="test_error", queue="interactive", title="An error", key="test_error:{name}")
def error(run: Run) -> dict[str, Any]:
    match run.params["how"]:
        case "words":
            raise Refusal("The folder is gone.", "Plug the disk in.")
        case "bug":
            raise ZeroDivisionError("one by \x00 zero")
        case "result":
            return {"value": float("nan")}
    raise AssertionError(run.params)


@background(kind="test_deaf", queue="interactive", title="Deaf", restartable=True, key="test_deaf:{name}")
def deaf(run: Run) -> dict[str, Any]:
    """Run one long call that checks for nothing."""
    note(run, f"begun:{os.getpid()}")
    time.sleep(run.params["pause"])
    return {}


@background(kind="test_native", queue="interactive", title="Native", key="test_native:{name}")
def native(run: Run) -> dict[str, Any]:
    """Run a call of ``pause`` seconds that holds the interpreter lock, so that no thread of this process runs."""
    note(run, f"begun:{os.getpid()}")
    began = time.perf_counter()
    ctypes.PyDLL(None).usleep(int(run.params["pause"] * 1e6))
    return {"seconds": time.perf_counter() - began}


def share(run: Run, start: int, stop: int) -> None:
    if run.params.get("fails_at") in range(start, stop):
        raise Refusal(f"Item {run.params['fails_at']} is broken.", "Remove it.")
    time.sleep(run.params["pause"])
    run.advance()  # only listens here
    note(run, f"{start}-{stop}:{os.getpid()}")


@background(kind="test_chunks", queue="heavy", title="Chunks", restartable=True, key="test_chunks:{name}", chunk=share)
def chunks(run: Run) -> dict[str, Any]:
    """Work through ``n`` chunks of ten items."""
    run.stage("Working through")
    work_through(run, [(10 * i, 10 * i + 10) for i in range(run.params["n"])])
    return {"items": 10 * run.params["n"]}
