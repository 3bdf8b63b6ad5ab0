"""Measure how many labels each selection strategy needs, by replaying the labeling with the true labels.

    python -m benchmarks.label_efficiency [COLLECTION ...] [--strategies random auto ...] [--seeds 20]
        [--first-seed 0] [--results FILE.jsonl] [--processes 2] [--only-report] [--docs FOLDER]

Seeds are paired: for each, every strategy has the same pool, the same held-out images and the same classifier (the
product's own). A ratio is the number of labels at which a strategy's mean curve reaches random's last point, divided by
random's labels. Replays are appended to the results, and existing ones are not repeated: after changing a strategy,
delete the file or name another. scikit-activeml's strategies (sk ...) need a dependency group: uv sync --group bench.
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
from benchmarks.label_efficiency.replay import OURS, Strategy, replay, shared_of
from benchmarks.label_efficiency.report import MEASURES, Replay, goals, read, rows, table, verdict

BEGIN, END = "<!-- tables -->", "<!-- end of the tables -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="*", metavar="COLLECTION", help=", ".join(COLLECTIONS))
    parser.add_argument(
        "--strategies", nargs="+", default=list(OURS), help="names, or all; those of scikit-activeml start with sk"
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of cached vectors")
    parser.add_argument("--results", type=Path, help="default: results.jsonl in the cache")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--patience", type=float, default=float("inf"), help="maximum seconds of queries per replay")
    parser.add_argument("--only-report", action="store_true")
    parser.add_argument("--docs", type=Path, help="folder whose label-efficiency.md and plot are updated")
    options = parser.parse_args()
    names = options.collections or list(COLLECTIONS)
    if unknown := set(names) - set(COLLECTIONS):
        parser.error(f"There is no collection {', '.join(sorted(unknown))}; choose from {', '.join(COLLECTIONS)}.")
    results = options.results or options.cache / "results.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    if not options.only_report:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        run(names, all_strategies() if options.strategies == ["all"] else options.strategies, seeds, options, results)
    report(names, results)
    if options.docs:
        write(names, results, options.docs)


def all_strategies() -> list[str]:
    from benchmarks.label_efficiency.opponents import OPPONENTS

    return [*OURS, *OPPONENTS]


def run(names: list[str], strategies: list[str], seeds: range, options: argparse.Namespace, results: Path) -> None:
    """Run the replays that are missing in the results."""
    done = {(item.collection, item.strategy, item.seed) for item in read(results)}
    todo = [
        (name, strategy, seed, options.cache, options.patience)
        for name in names
        for seed in seeds
        for strategy in dict.fromkeys(["random", *strategies])
        if (name, strategy, seed) not in done
    ]
    for name in names:
        COLLECTIONS[name].load(options.cache)  # once, before the processes start
    # Fork, so that the processes share what is loaded.
    with get_context("fork").Pool(options.processes, initializer=_limit_worker) as workers:
        for number, item in enumerate(workers.imap_unordered(one_replay, todo), 1):
            with results.open("a") as stream:
                stream.write(item.line() + "\n")
            print(
                f"{time.strftime('%H:%M:%S')} {number}/{len(todo)} {item.collection} {item.strategy} {item.seed}: pool "
                f"{item.curve.pool[-1]:.4f}, held out {item.curve.held_out[-1]:.4f}, "
                f"{sum(item.curve.query_seconds):.1f} s of queries",
                flush=True,
            )


def _limit_worker() -> None:
    """Limit a worker process to one thread at low priority: seeds run in parallel."""
    threadpool_limits(limits=1)
    os.nice(15)


def one_replay(task: tuple[str, str, int, Path, float]) -> Replay:
    name, strategy, seed, cache, patience = task
    collection = COLLECTIONS[name]
    split = collection.draw(cache, seed)
    shared = shared_of(split.X, cache / f"shared-{name}-{seed}.npz")
    curve = replay(
        named(strategy, seed, split.n_classes),
        split,
        shared,
        batch=collection.batch,
        budget=collection.labels(len(split.X)),
        seed=seed,
        is_smoothed=bool(collection.base),
        patience=patience,
    )
    return Replay(name, strategy, seed, curve)


def named(strategy: str, seed: int, n_classes: int) -> Strategy:
    if strategy in OURS:
        return OURS[strategy]
    from benchmarks.label_efficiency.opponents import OPPONENTS

    return OPPONENTS[strategy](seed, n_classes)


def report(names: list[str], results: Path) -> None:
    if text := goals(read(results)):
        print(f"\nAuto with joined encoders and a smoothed head\n\n{text}")
    for name, text in tables(names, results):
        print(f"\n{name}\n\n{text}")


def tables(names: list[str], results: Path) -> Iterator[tuple[str, str]]:
    """Yield a title and a table with a sentence on Auto, for each collection and measure."""
    replays = read(results)
    for name in names:
        mine = [item for item in replays if item.collection == name]
        for measure, title in MEASURES.items():
            if any(item.strategy == "random" and getattr(item.curve, measure) for item in mine):
                strategies = rows(mine, measure)
                yield f"{COLLECTIONS[name].title}: {title}", f"{table(strategies)}\n\n{verdict(strategies)}"


def write(names: list[str], results: Path, folder: Path) -> None:
    """Put the tables between the marks of the page, and draw the plot beside it."""
    from benchmarks.label_efficiency.plot import draw

    page = folder / "label-efficiency.md"
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    comparison = f"### Joined encoders and a smoothed head\n\n{goals(read(results))}\n\n"
    text = comparison + "".join(f"### {title}\n\n{content}\n\n" for title, content in tables(names, results))
    page.write_text(f"{before}{BEGIN}\n\n{text}{END}{after}")
    draw(read(results), folder / "label-efficiency.svg")


if __name__ == "__main__":
    main()
