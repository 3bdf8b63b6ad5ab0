"""``python -m benchmarks.corruption [-n 10000] [--seed 1]``: what becomes of damaged files of every format.

Each case is a small good file that was cut, flipped, zeroed, spliced with another, renamed or given another size. It
is examined, opened and asked for its browser format in a process of its own kind, which is watched: a crash or a hang
costs that process and is counted. Good files lie between them and have to come through as they are.
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
# A case takes milliseconds; one that takes so long hangs.
PATIENCE = 60.0
_ONE_GOOD_IN = 10

Rng = np.random.Generator


# -- Damage -----------------------------------------------------------------------------------------
def cut(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """The first so many tenths."""
    return content[: len(content) * int(rng.integers(0, 10)) // 10]


def flip(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Other bytes in up to 20 places, in half of the cases all of them near the start."""
    damaged = bytearray(content)
    reach = len(content) if rng.random() < 0.5 else min(len(content), 400)
    for place in rng.integers(0, reach, rng.integers(1, 21)):
        damaged[place] = rng.integers(0, 256)
    return bytes(damaged)


def zero(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """A stretch of zeros, as a disk leaves it."""
    start, stop = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:start] + bytes(stop - start) + content[stop:]


def splice(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """The start of one file and the end of another."""
    other = others[rng.integers(len(others))]
    return content[: rng.integers(1, len(content))] + other[rng.integers(0, len(other)) :]


def shift(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Some bytes that are missing, or too many."""
    at, n = rng.integers(0, len(content)), rng.integers(1, 40)
    return content[:at] + content[at + n :] if rng.random() < 0.5 else content[:at] + rng.bytes(n) + content[at:]


def huge(content: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """Large numbers somewhere in the header, where sizes and counts are."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = rng.integers(4, min(len(content), 400))
        number = rng.choice([b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff\xff", b"99999", b"\x00\x01\x00\x00"])
        damaged[at : at + len(number)] = number
    return bytes(damaged)


KINDS = (cut, flip, flip, zero, splice, shift, huge)


@dataclass(frozen=True, slots=True)
class Case:
    """One file: damaged in one of KINDS' ways, or ``good``. ``source`` says which of the samples it was made of."""

    source: str
    kind: str
    suffix: str
    content: bytes
    rng: Rng

    @property
    def is_good(self) -> bool:
        return self.kind == "good"


def case_of(number: int, seed: int, good: dict[str, bytes]) -> Case:
    """The case of that number, the same each time; of ``good`` files, by name."""
    names = sorted(good)
    rng = np.random.default_rng([seed, number])
    name, kind = names[rng.integers(len(names))], KINDS[rng.integers(len(KINDS))]
    # Content decides, so a name of another kind is no damage more.
    suffix = "".join(Path(names[rng.integers(len(names))]).suffixes) or ".jpg"
    if number % _ONE_GOOD_IN == 0:
        return Case(name, "good", suffix, good[name], rng)
    return Case(name, kind.__name__, suffix, kind(good[name], rng, [good[other] for other in names]), rng)


# -- In the watched process ---------------------------------------------------------------------------
def work(start: int, stop: int, seed: int, folder: Path) -> None:
    """Cases [start, stop): a line of JSON before and after each."""
    files = samples(folder)
    good = {name: file.read_bytes() for name, file in files.items()}
    whole = {name: open_image(file, max_side=224).tobytes() for name, file in files.items()}
    ways = [Rendering(), Rendering(stretch="asinh"), Rendering(plane="max"), Rendering(plane="rgb", is_inverted=True)]
    for number in range(start, stop):
        case = case_of(number, seed, good)
        print(json.dumps({"number": number, "name": case.source, "kind": case.kind}), flush=True)
        file = folder / f"case{case.suffix}"
        file.write_bytes(case.content)
        if case.is_good:
            outcome = "good" if open_image(file, max_side=224).tobytes() == whole[case.source] else "lost"
        else:
            outcome = _outcome(file, ways[case.rng.integers(len(ways))])
        file.unlink()
        print(json.dumps({"outcome": outcome}), flush=True)


def _outcome(file: Path, way: Rendering) -> str:
    """What becomes of a damaged file; any other exception ends the process, and is counted as a crash.

    What is let in by an ingest has to be shown afterwards, and the other way round.
    """
    outcomes = []
    for read in (
        partial(examine, rendering=way),
        partial(open_image, max_side=224, rendering=way),
        partial(format_for_browsers, rendering=way),
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
class Told:
    """What became of all cases: how often each outcome, which formats were refused, and what went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    cut_and_shown: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def run(n: int, seed: int, patience: float = PATIENCE) -> Told:
    """All cases below ``n``; a process that dies or hangs is replaced and goes on after that case."""
    told, start = Told(), 0
    with tempfile.TemporaryDirectory() as folder:
        while start < n:
            start = _watched(start, n, seed, folder, patience, told)
    return told


def command_of(start: int, n: int, seed: int, folder: str) -> list[str]:
    """What opens the files of cases [start, n)."""
    return [sys.executable, "-m", "benchmarks.corruption", "--seed", str(seed), "--work", str(start), str(n), folder]


def _watched(start: int, n: int, seed: int, folder: str, patience: float, told: Told) -> int:
    """One process's cases; where the next one has to begin."""
    command = command_of(start, n, seed, folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True).start()
        case: dict[str, str] = {"number": str(start - 1), "name": "", "kind": "starting"}
        try:
            while line := lines.get(timeout=patience):
                said = json.loads(line)
                if "number" in said:
                    case = said
                    continue
                told.outcomes[said["outcome"]] += 1
                if said["outcome"] in {"refused", "shown"}:
                    getattr(told, said["outcome"])[case["name"]] += 1
                    told.cut_and_shown[case["name"]] += said["outcome"] == "shown" and case["kind"] == "cut"
                elif said["outcome"] != "good":
                    told.wrong.append(f"{said['outcome']}: {case}")
        except queue.Empty:
            process.kill()
            told.outcomes["hung"] += 1
            told.wrong.append(f"hung: {case}")
            return int(case["number"]) + 1
    if process.returncode == 0:
        return n
    told.outcomes["crashed"] += 1
    told.wrong.append(f"crashed ({process.returncode}): {case}")
    if case["kind"] == "starting":
        raise RuntimeError("The process that opens the files can't be started.")
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
    told = run(options.n, options.seed)
    print(f"{options.n:,} cases, seed {options.seed}, {time.monotonic() - began:.0f} s")
    print(", ".join(f"{outcome} {count:,}" for outcome, count in told.outcomes.most_common()))
    for name in sorted(told.refused | told.shown):
        cut_short = f", of which cut {told.cut_and_shown[name]}" if told.cut_and_shown[name] else ""
        print(f"  {name:12} refused {told.refused[name]:5,}   shown {told.shown[name]:5,}{cut_short}")
    print("\n".join(told.wrong) or "nothing crashed, hung or was lost")
    return 1 if told.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
