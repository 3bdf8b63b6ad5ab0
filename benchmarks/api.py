"""Time pages of items of the REST API at 10,000 and 1,000,000 items, and saving labels in batches.

    python -m benchmarks.api [--large 1000000] [--small 10000] [--requests 100]

Real web servers in separate processes are requested in turn over HTTP, each by one client with a token and a connection
that is kept open. Prints medians and their ratios, and labels per second in batches of 100.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import uuid
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.stage import run_script, stage

# A label for each tenth item, and a token.
PREPARE = """
import uuid
from django.contrib.auth.models import User
from django.utils import timezone
from hoshina.api import tokens
from labeling.decisions.save import Request, Target, apply
from labeling.models import Action, Dataset, Item, LabelClass
dataset = Dataset.objects.get()
label = LabelClass.objects.order_by("order").first()
ids = list(Item.objects.filter(row__lt=20_000).values_list("pk", flat=True)[::10])
apply(dataset, [Request(uuid.uuid4(), Action.Kind.ASSIGN, timezone.now(), label.pk,
      targets=tuple(Target(pk) for pk in ids))], user=None, holder="")
print(tokens.issue(User.objects.create_superuser("bench"), "bench", scope="write")[1])
"""
PAGES = {
    "first page": "limit=100",
    "from the middle": "limit=100&cursor={middle}",
    "by state, from the middle": "limit=100&state=unlabelled&cursor={middle}",
    "by class": "limit=100&class_name=class+0",
    "by prediction": "limit=100&predicted_name=class+3",
    "by prediction of at least 0.9": "limit=100&predicted_name=class+3&min_probability=0.9",
    "by prediction, from the middle": "limit=100&predicted_name=class+3&cursor={middle}",
    "1,000 items with predictions": "limit=1000&include=prediction",
}


class Program:
    """Represent a client with a token, whose connection is kept open."""

    def __init__(self, address: str, token: str, n: int) -> None:
        self.connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.n = n

    def ask(self, path: str, body: Any = None) -> Any:
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body).encode())
        self.connection.request(method, f"/api/v1/datasets/stage/{path}", data, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        return json.loads(content)

    def page(self, query: str) -> float:
        """Return the seconds that a page takes."""
        began = time.perf_counter()
        self.ask(f"items?{query.format(middle=self.n // 2)}")
        return time.perf_counter() - began

    def label(self, ids: list[int], *, is_one_action: bool) -> float:
        """Return the seconds that a request with these decisions takes: one action, or one for each item."""
        groups = [ids] if is_one_action else [[pk] for pk in ids]
        decision = {"kind": "assign", "class_name": "class 1", "overwrite": True}
        actions = [{"uuid": str(uuid.uuid4()), "items": [{"id": pk} for pk in group], **decision} for group in groups]
        began = time.perf_counter()
        self.ask("annotations", {"actions": actions})
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=100)
    options = parser.parse_args()
    with ExitStack() as stack:
        programs = {}
        for n in (options.small, options.large):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            address = stack.enter_context(stage(folder, n))
            programs[n] = Program(address, run_script(folder, PREPARE).strip().splitlines()[-1], n)
        for name, query in PAGES.items():
            times: dict[int, list[float]] = {n: [] for n in programs}
            for turn in range(options.requests + 3):
                for n, program in programs.items():
                    taken = program.page(query)
                    if turn >= 3:  # the first requests fill caches
                        times[n].append(taken)
            small, large = (1000 * statistics.median(found) for found in times.values())
            print(f"{name:<32} {small:7.1f} ms  {large:7.1f} ms  ratio {large / small:.2f}", flush=True)
        for n, program in programs.items():
            for is_one_action in (False, True):
                batches = [list(range(start, start + 100)) for start in range(1, 6001, 100)]
                taken = sum(program.label(batch, is_one_action=is_one_action) for batch in batches)
                how = "one action" if is_one_action else "100 actions"
                print(f"{n:>9,} items: {6000 / taken:,.0f} labels/s by requests of {how}", flush=True)


if __name__ == "__main__":
    main()
