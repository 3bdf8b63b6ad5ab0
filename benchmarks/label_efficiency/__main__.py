"""How many labels each way of choosing needs: labelling replayed with the true labels, nobody at the keys.

    python -m benchmarks.label_efficiency [COLLECTION ...] [--strategies random auto ...] [--seeds 20]
        [--first-seed 0] [--results FILE.jsonl] [--processes 2] [--only-report] [--docs FOLDER]

Paired seeds: for each, every strategy has the same pool, the same held-out images and the same classifier (the
product's own). A ratio is the labels at which the mean curve of a strategy reaches random's last point, over
random's labels. Replays are appended to the results, and those that are there are not done again: delete the file,
or name another, after changing a strategy. scikit-activeml's strategies (sk ...) need the group: uv sync --group bench.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import CACHE, COLLECTIONS
from benchmarks.label_efficiency.replay import OURS, Strategy, prepared, replay
from benchmarks.label_efficiency.report import MEASURES, Replay, read, rows, table, verdict

BEGIN, END = "<!-- tables -->", "<!-- end of the tables -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="*", metavar="COLLECTION", help=", ".join(COLLECTIONS))
    parser.add_argument("--strategies", nargs="+", default=list(OURS), help="or all; those of scikit-activeml: sk ...")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the vectors")
    parser.add_argument("--results", type=Path, help="default: results.jsonl in the cache")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--patience", type=float, default=float("inf"), help="seconds of queries after which a replay ends"
    )
    parser.add_argument("--only-report", action="store_true")
    parser.add_argument("--docs", type=Path, help="folder whose label_efficiency.md gets the tables, and the plot")
    given = parser.parse_args()
    names = given.collections or list(COLLECTIONS)
    if unknown := set(names) - set(COLLECTIONS):
        parser.error(f"There is no collection {', '.join(sorted(unknown))}; choose from {', '.join(COLLECTIONS)}.")
    results = given.results or given.cache / "results.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    if not given.only_report:
        seeds = range(given.first_seed, given.first_seed + given.seeds)
        run(names, all_strategies() if given.strategies == ["all"] else given.strategies, seeds, given, results)
    report(names, results)
    if given.docs:
        write(names, results, given.docs)


def all_strategies() -> list[str]:
    from benchmarks.label_efficiency.opponents import OPPONENTS

    return [*OURS, *OPPONENTS]


def run(names: list[str], strategies: list[str], seeds: range, given: argparse.Namespace, results: Path) -> None:
    """Do the replays that are missing in the results."""
    done = {(one.collection, one.strategy, one.seed) for one in read(results)}
    todo = [
        (name, strategy, seed, given.cache, given.patience)
        for name in names
        for seed in seeds
        for strategy in dict.fromkeys(["random", *strategies])
        if (name, strategy, seed) not in done
    ]
    for name in names:
        COLLECTIONS[name].load(given.cache)  # once, before there are processes that want it
    # Forked, so that the processes share what is loaded.
    with get_context("fork").Pool(given.processes, initializer=_beside_others) as workers:
        for number, one in enumerate(workers.imap_unordered(one_replay, todo), 1):
            with results.open("a") as stream:
                stream.write(one.line() + "\n")
            print(
                f"{time.strftime('%H:%M:%S')} {number}/{len(todo)} {one.collection} {one.strategy} {one.seed}: pool "
                f"{one.curve.pool[-1]:.4f}, held out {one.curve.held_out[-1]:.4f}, "
                f"{sum(one.curve.query_seconds):.1f} s of queries",
                flush=True,
            )


def _beside_others() -> None:
    """Seeds are spread over processes, so each keeps to one thread; and to the background."""
    threadpool_limits(limits=1)
    os.nice(15)


def one_replay(task: tuple[str, str, int, Path, float]) -> Replay:
    name, strategy, seed, cache, patience = task
    collection = COLLECTIONS[name]
    split = collection.draw(cache, seed)
    shared = prepared(split.X, cache / f"projected-{name}-{seed}.npz")
    curve = replay(
        named(strategy, seed, split.n_classes),
        split,
        shared,
        batch=collection.batch,
        budget=collection.labels(len(split.X)),
        seed=seed,
        patience=patience,
    )
    return Replay(name, strategy, seed, curve)


def named(strategy: str, seed: int, n_classes: int) -> Strategy:
    if strategy in OURS:
        return OURS[strategy]
    from benchmarks.label_efficiency.opponents import OPPONENTS

    return OPPONENTS[strategy](seed, n_classes)


def report(names: list[str], results: Path) -> None:
    for name, text in tables(names, results):
        print(f"\n{name}\n\n{text}")


def tables(names: list[str], results: Path) -> Iterator[tuple[str, str]]:
    """Of each collection and measure, a title and a table with a sentence on Auto."""
    replays = read(results)
    for name in names:
        mine = [one for one in replays if one.collection == name]
        for measure, title in MEASURES.items():
            if any(one.strategy == "random" and getattr(one.curve, measure) for one in mine):
                found = rows(mine, measure)
                yield f"{COLLECTIONS[name].title}: {title}", f"{table(found)}\n\n{verdict(found)}"


def write(names: list[str], results: Path, folder: Path) -> None:
    """Put the tables between the marks of the page, and draw the plot beside it."""
    from benchmarks.label_efficiency.plot import draw

    page = folder / "label_efficiency.md"
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    text = "".join(f"### {title}\n\n{content}\n\n" for title, content in tables(names, results))
    page.write_text(f"{before}{BEGIN}\n\n{text}{END}{after}")
    draw(read(results), folder / "label_efficiency.svg")


if __name__ == "__main__":
    main()
