"""Test that work in threads is complete, in order, reproducible, and can be stopped."""

import threading

import numpy as np
import pytest

from modeling.algorithms import rows
from modeling.algorithms.ivf_neighbors import approximate_knn_graph, approximate_nearest
from modeling.algorithms.neighbors import knn_graph
from modeling.algorithms.rows import run_in_threads


def test_every_part_is_done_and_reported_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "cores", lambda: 3)
    done, reported, threads = set(), [], set()
    barrier = threading.Barrier(3, timeout=30)

    def work(part: int) -> None:
        if part < 3:
            barrier.wait()  # three at a time
        threads.add(threading.get_ident())
        done.add(part)

    run_in_threads(work, range(50), reported.append)
    assert done == set(range(50))
    assert reported == list(range(50))
    assert len(threads) == 3
    assert threading.get_ident() not in threads


def test_what_has_not_begun_is_dropped_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "cores", lambda: 2)
    begun: list[int] = []
    go_on = threading.Event()

    def work(part: int) -> None:
        begun.append(part)
        if part:
            go_on.wait(30)

    def stop(part: int) -> None:
        threading.Timer(0.2, go_on.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_threads(work, range(1000), stop)
    assert len(begun) <= 4


def test_an_error_of_a_part_is_raised() -> None:
    def work(part: int) -> None:
        if part == 3:
            raise ValueError("part 3")

    with pytest.raises(ValueError, match="part 3"):
        run_in_threads(work, range(10), lambda part: None)


@pytest.mark.parametrize("cores", [2, 5])
def test_neighbors_are_the_same_on_any_number_of_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).standard_normal((3000, 10)).astype(np.float32)

    def graph_bytes() -> list[bytes]:
        graphs = [
            knn_graph(X, 7),
            approximate_knn_graph(X, 7, rng=np.random.default_rng(1)).graph,
            approximate_nearest(X[:900], X[1000:], 7, rng=np.random.default_rng(1)),
        ]
        return [graph.indices.tobytes() + graph.distances.tobytes() for graph in graphs]

    monkeypatch.setattr(rows, "cores", lambda: 1)
    alone = graph_bytes()
    monkeypatch.setattr(rows, "cores", lambda: cores)
    assert graph_bytes() == alone
