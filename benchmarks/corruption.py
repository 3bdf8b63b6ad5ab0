"""Open damaged files of every format, and count crashes, hangs and files that are lost.

Run ``uv run --group bench python -m benchmarks.corruption [-n 10000] [--seed 1]``.

Each case is a small valid file that was
truncated, flipped, zeroed, spliced with another, renamed or given another size. A separate, monitored process examines
it, opens it and requests its browser format: a crash or a hang costs that process and is counted. Valid files are
interspersed and must come through unchanged.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from labeling.images.browser_formats import format_for_browsers
from labeling.images.file_check import examine
from labeling.images.open_image import open_image
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from tests.labeling.images.pictures import samples

ROOT = Path(__file__).resolve().parent.parent
# Seconds until a case counts as hung; it normally takes milliseconds.
PATIENCE = 60.0
_ONE_GOOD_IN = 10

Rng = np.random.Generator


# -- Damage -----------------------------------------------------------------------------------------
def cut(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Truncate to some tenths of the length."""
    return content[: len(content) * int(rng.integers(0, 10)) // 10]


def flip(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Change bytes in up to 20 places, in half of the cases only near the start."""
    damaged = bytearray(content)
    reach = len(content) if rng.random() < 0.5 else min(len(content), 400)
    for position in rng.integers(0, reach, rng.integers(1, 21)):
        damaged[position] = rng.integers(0, 256)
    return bytes(damaged)


def zero(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Overwrite a stretch with zeros, as a failing disk does."""
    start, stop = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:start] + bytes(stop - start) + content[stop:]


def splice(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Join the start of one file and the end of another."""
    other = others[rng.integers(len(others))]
    return content[: rng.integers(1, len(content))] + other[rng.integers(0, len(other)) :]


def shift(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Delete or insert some bytes."""
    at, n = rng.integers(0, len(content)), rng.integers(1, 40)
    return content[:at] + content[at + n :] if rng.random() < 0.5 else content[:at] + rng.bytes(n) + content[at:]


def huge(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Write large numbers into the header, where sizes and counts are."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = rng.integers(4, min(len(content), 400))
        number = rng.choice([b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff\xff", b"99999", b"\x00\x01\x00\x00"])
        damaged[at : at + len(number)] = number
    return bytes(damaged)


KINDS = (cut, flip, flip, zero, splice, shift, huge)


@dataclass(frozen=True, slots=True)
class Case:
    """Describe a file, damaged by one of KINDS, or ``good``. ``source`` is the sample it was made from."""

    source: str
    kind: str
    suffix: str
    content: bytes
    rng: Rng

    @property
    def is_good(self) -> bool:
        return self.kind == "good"


def case_of(number: int, seed: int, good: dict[str, bytes]) -> Case:
    """Return the case of a number, always the same, made from the ``good`` files by name."""
    names = sorted(good)
    rng = np.random.default_rng([seed, number])
    name, kind = names[rng.integers(len(names))], KINDS[rng.integers(len(KINDS))]
    # The content decides the format, so another suffix is no further damage.
    suffix = "".join(Path(names[rng.integers(len(names))]).suffixes) or ".jpg"
    if number % _ONE_GOOD_IN == 0:
        return Case(name, "good", suffix, good[name], rng)
    return Case(name, kind.__name__, suffix, kind(good[name], rng, [good[other] for other in names]), rng)


# -- In the watched process ---------------------------------------------------------------------------
def work(start: int, stop: int, seed: int, folder: Path) -> None:
    """Process cases [start, stop): print a line of JSON before and after each."""
    files = samples(folder)
    good = {name: file.read_bytes() for name, file in files.items()}
    whole = {name: open_image(file, max_side=224).tobytes() for name, file in files.items()}
    renderings = [
        Rendering(),
        Rendering(stretch="asinh"),
        Rendering(plane="max"),
        Rendering(plane="rgb", is_inverted=True),
    ]
    for number in range(start, stop):
        case = case_of(number, seed, good)
        print(json.dumps({"number": number, "name": case.source, "kind": case.kind}), flush=True)
        file = folder / f"case{case.suffix}"
        file.write_bytes(case.content)
        if case.is_good:
            outcome = "good" if open_image(file, max_side=224).tobytes() == whole[case.source] else "lost"
        else:
            outcome = _outcome(file, renderings[case.rng.integers(len(renderings))])
        file.unlink()
        print(json.dumps({"outcome": outcome}), flush=True)


def _outcome(file: Path, rendering: Rendering) -> str:
    """Return what happens to a damaged file; any other exception ends the process and counts as a crash.

    A file accepted by an ingest must be displayable afterwards, and vice versa.
    """
    outcomes = []
    for read in (
        partial(examine, rendering=rendering),
        partial(open_image, max_side=224, rendering=rendering),
        partial(format_for_browsers, rendering=rendering),
    ):
        try:
            read(file)
            outcomes.append("shown")
        except ImageProblem as problem:
            outcomes.append("refused" if problem.reason.strip() else "without a reason")
    if "without a reason" in outcomes:
        return "without a reason"
    return outcomes[0] if outcomes[0] == outcomes[1] else "let in and not shown"


# -- Watching it ----------------------------------------------------------------------------------------
@dataclass
class Summary:
    """Collect the results of all cases: counts of outcomes, formats refused or shown, and failures."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    cut_and_shown: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def run(n: int, seed: int, patience: float = PATIENCE) -> Summary:
    """Run all cases below ``n``; a process that dies or hangs is replaced and continues after that case."""
    summary, start = Summary(), 0
    with tempfile.TemporaryDirectory() as folder:
        while start < n:
            start = _watched(start, n, seed, folder, patience, summary)
    return summary


def command_of(start: int, n: int, seed: int, folder: str) -> list[str]:
    """Return the command that opens the files of cases [start, n)."""
    return [sys.executable, "-m", "benchmarks.corruption", "--seed", str(seed), "--work", str(start), str(n), folder]


def _watched(start: int, n: int, seed: int, folder: str, patience: float, summary: Summary) -> int:
    """Run one process and count its cases. Return where the next one has to start."""
    command = command_of(start, n, seed, folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True).start()
        case: dict[str, str] = {"number": str(start - 1), "name": "", "kind": "starting"}
        try:
            while line := lines.get(timeout=patience):
                message = json.loads(line)
                if "number" in message:
                    case = message
                    continue
                summary.outcomes[message["outcome"]] += 1
                if message["outcome"] in {"refused", "shown"}:
                    getattr(summary, message["outcome"])[case["name"]] += 1
                    summary.cut_and_shown[case["name"]] += message["outcome"] == "shown" and case["kind"] == "cut"
                elif message["outcome"] != "good":
                    summary.wrong.append(f"{message['outcome']}: {case}")
        except queue.Empty:
            process.kill()
            summary.outcomes["hung"] += 1
            summary.wrong.append(f"hung: {case}")
            return int(case["number"]) + 1
    if process.returncode == 0:
        return n
    summary.outcomes["crashed"] += 1
    summary.wrong.append(f"crashed ({process.returncode}): {case}")
    if case["kind"] == "starting":
        raise RuntimeError("The process that opens the files cannot be started.")
    return int(case["number"]) + 1


def _listen(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", nargs=3, metavar=("START", "STOP", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        start, stop, folder = options.work
        with tempfile.TemporaryDirectory(dir=folder) as own:
            work(int(start), int(stop), options.seed, Path(own))
        return 0
    began = time.monotonic()
    summary = run(options.n, options.seed)
    print(f"{options.n:,} cases, seed {options.seed}, {time.monotonic() - began:.0f} s")
    print(", ".join(f"{outcome} {count:,}" for outcome, count in summary.outcomes.most_common()))
    for name in sorted(summary.refused | summary.shown):
        cut_short = f", of which cut {summary.cut_and_shown[name]}" if summary.cut_and_shown[name] else ""
        print(f"  {name:12} refused {summary.refused[name]:5,}   shown {summary.shown[name]:5,}{cut_short}")
    print("\n".join(summary.wrong) or "nothing crashed, hung or was lost")
    return 1 if summary.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
