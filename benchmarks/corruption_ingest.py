"""Ingest damaged files, and count lost files, missing reasons and memory.

Run ``uv run --group bench python -m benchmarks.corruption_ingest [-n 10000] [--seed 1]``.

The cases of benchmarks.corruption are in
one folder, one in ten of them valid. ``manage.py ingest`` reads it, and the decoders then render what it accepted.
Reported: whether the ingest completed, valid files that were lost, damaged files that are neither items nor problems,
reasons that are not plain sentences, and the peak memory of the ingest and its decoders.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.corruption import case_of
from tests.labeling.images.pictures import samples

ROOT = Path(__file__).resolve().parent.parent
# Seconds per thousand files: AL_DECODE_SECONDS ends a hanging decoder long before.
PATIENCE = 600.0
# Decoders may exceed AL_DECODE_MB for at most this many seconds.
_MAX_SECONDS_OVER = 1.0
DECODE_SECONDS, DECODE_MEGABYTES = 20, 600
_TECHNICAL = re.compile(r"Traceback|\w+(Error|Exception|Warning)\b|<class|0x[0-9a-f]{6}|\n")

AFTERWARDS = """
import json
import django
django.setup()
from labeling.images.decoder_pool import decoders, pictures
from labeling.images.problems import ImageProblem
from labeling.models import Dataset, Frame, Problem
dataset = Dataset.objects.get()
hidden = {}
for frame in Frame.objects.filter(dataset=dataset).order_by("pk"):
    try:
        file = dataset.data_dir / frame.path
        decoders().thumbnail(file, frame.sha256, 256, pictures(), dataset.shown_as)
    except ImageProblem as problem:
        hidden[frame.path] = problem.reason
print(json.dumps({
    "items": list(Frame.objects.values_list("path", flat=True)),
    "problems": dict(Problem.objects.values_list("path", "reason")),
    "hidden": hidden,
}))
"""


@dataclass
class Summary:
    """Collect the results for all files."""

    n: int
    n_good: int
    seconds: float
    megabytes: int
    decoder_megabytes: int
    n_decoders: int
    items: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def run(n: int, seed: int, folder: Path) -> Summary:
    """Write, ingest and check the first ``n`` cases, all below ``folder``."""
    good = _write(n, seed, folder)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "hoshina.settings",
        "AL_STORE_DIR": str(folder / "store"),
        "AL_DECODE_SECONDS": str(DECODE_SECONDS),
        "AL_DECODE_MB": str(DECODE_MEGABYTES),
    }
    command = [sys.executable, "manage.py", "ingest", "--data-dir", str(folder / "in"), "--json"]
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watch = _Watch(process.pid)
        watch.start()
        try:
            _, errors = process.communicate(timeout=PATIENCE * (1 + n / 1000))
        except subprocess.TimeoutExpired:
            process.kill()
            errors = "it hung"
        watch.stop()
    summary = Summary(n, len(good), time.monotonic() - began, watch.own >> 20, watch.decoder >> 20, len(watch.decoders))
    if watch.longest_over > _MAX_SECONDS_OVER:
        summary.wrong.append(f"a decoder held more than {DECODE_MEGABYTES} MB for {watch.longest_over:.1f} s")
    if process.returncode != 0:
        summary.wrong.append(f"the ingest ended with {process.returncode}: {errors.strip()[-2000:]}")
        return summary
    after = subprocess.run(
        [sys.executable, "-c", AFTERWARDS], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    _check(summary, good, {file.name for file in (folder / "in").iterdir()}, json.loads(after.stdout))
    return summary


def _write(n: int, seed: int, folder: Path) -> set[str]:
    """Write the files of all cases. Return the names of the valid ones."""
    for name in ("in", "samples"):
        (folder / name).mkdir()
    contents = {name: file.read_bytes() for name, file in samples(folder / "samples").items()}
    good = set()
    for number in range(n):
        case = case_of(number, seed, contents)
        file = folder / "in" / f"{number:06d}-{case.kind}-{case.source.replace('.', '-')}{case.suffix}"
        file.write_bytes(case.content)
        if case.is_good:
            good.add(file.name)
    return good


def _check(summary: Summary, good: set[str], names: set[str], after: dict[str, dict[str, str]]) -> None:
    items, problems = set(after["items"]), after["problems"]
    summary.items = len(items)
    summary.reasons.update(re.sub(r"\d[\d,.]*", "N", reason) for reason in problems.values())
    summary.wrong += [f"a good file was lost: {name}: {problems.get(name)}" for name in sorted(good - items)]
    summary.wrong += [f"neither an item nor a problem: {name}" for name in sorted(names - items - problems.keys())]
    summary.wrong += [
        f"not a plain sentence: {path}: {reason}" for path, reason in problems.items() if not is_plain(reason)
    ]
    summary.wrong += [f"accepted but not shown: {path}: {reason}" for path, reason in after["hidden"].items()]


def is_plain(reason: str) -> bool:
    """Return whether a reason is a sentence for users rather than a library's message for programmers."""
    return reason.endswith(".") and not _TECHNICAL.search(reason)


class _Watch(threading.Thread):
    """Record the peak memory of a process and of its children, and how long a child exceeded the limit."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._has_ended = psutil.Process(pid), threading.Event()
        self.own = self.decoder = 0
        self.longest_over = 0.0
        self.decoders = set[int]()
        self._over_since: dict[int, float] = {}

    def run(self) -> None:
        while not self._has_ended.wait(0.05):
            try:
                self.own = max(self.own, self._process.memory_info().rss)
                for child in self._process.children():
                    self._look(child)
            except psutil.NoSuchProcess:
                continue

    def _look(self, child: psutil.Process) -> None:
        memory, now = child.memory_info().rss, time.monotonic()
        self.decoders.add(child.pid)
        self.decoder = max(self.decoder, memory)
        if memory >> 20 <= DECODE_MEGABYTES:
            self._over_since.pop(child.pid, None)
        else:
            self.longest_over = max(self.longest_over, now - self._over_since.setdefault(child.pid, now))

    def stop(self) -> None:
        self._has_ended.set()
        self.join()


def _report(summary: Summary, show: Sequence[str]) -> None:
    print(f"{summary.n:,} files, {summary.n_good:,} of them good: ingested in {summary.seconds:.0f} s")
    print(f"{summary.items:,} items, {sum(summary.reasons.values()):,} problems of {len(summary.reasons)} kinds")
    # A decoder may use more between two measurements.
    print(
        f"peak memory: ingest {summary.megabytes} MB, decoder {summary.decoder_megabytes} MB "
        f"(of {DECODE_MEGABYTES}); {summary.n_decoders} decoders were started"
    )
    print("\n".join(show))
    print("\n".join(summary.wrong) or "nothing crashed, hung or was lost; each has a reason")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reasons", action="store_true", help="list them all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        summary = run(options.n, options.seed, Path(folder))
    _report(summary, [f"{n:6,} {reason}" for reason, n in summary.reasons.most_common()] if options.reasons else [])
    return 1 if summary.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
