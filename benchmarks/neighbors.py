"""Time nearest-neighbor search against faiss and pynndescent, on the same rows and threads, with recall.

    python -m benchmarks.neighbors [--n 20000 100000] [--threads 2] [--only NAME ...]

Rows are images of Fashion-MNIST, mirrored and shifted by up to two pixels for as many as requested (Debian:
dataset-fashion-mnist), on their 64 principal components. Every search finds the 30 nearest others of all rows. Recall
is measured on 1,000 rows against all distances. Each approximate search aims at a recall of 0.98: ours measures it
itself, faiss's ``nprobe`` is increased until a sample reaches it (included in the time), pynndescent has no such
parameter and runs with defaults. CPU time of all cores is more informative than wall time on a busy machine.
Compilation and imports are timed separately, on 2,000 rows.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import FASHION
from benchmarks.retrain import likely_vectors

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
K, DIMS, CHECKED, TARGET_RECALL = 30, 64, 1000, 0.98
SHIFT, PIXELS = 2, 784


def rows_of(n: int) -> Floats:
    """Return images (n, 64) on their principal components, the same for the same ``n``."""
    if not FASHION.is_dir():
        return likely_vectors(n, DIMS, 10, 0)[0]
    parts = [gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes()) for part in ("train", "t10k")]
    images = np.concatenate([np.frombuffer(part, np.uint8, offset=16).reshape(-1, 28, 28) for part in parts])
    flat = images.reshape(-1, PIXELS).astype(np.float32) / 255
    mean = flat.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(flat[:20_000].T))
    axes = directions[:, ::-1][:, :DIMS].astype(np.float32)
    rng = np.random.default_rng(0)
    Z = np.empty((n, DIMS), np.float32)
    for begin in range(0, n, len(images)):
        batch = images[: n - begin]
        if begin:
            batch = batch[:, :, ::-1] if rng.random() < 0.5 else batch
            batch = np.roll(batch, rng.integers(-SHIFT, SHIFT + 1, 2), axis=(1, 2))
            batch = np.clip(batch + rng.normal(0, 6, batch.shape).astype(np.float32), 0, 255)
        Z[begin : begin + len(batch)] = (batch.reshape(-1, PIXELS).astype(np.float32) / 255 - mean) @ axes
    return Z


# -- Searches ----------------------------------------------------------------------------------------
def ours(Z: Floats, threads: int) -> Indices:
    from modeling.algorithms.ivf_neighbors import approximate_knn_graph

    with threadpool_limits(threads):
        return approximate_knn_graph(Z, K, rng=np.random.default_rng(0), recall=TARGET_RECALL).graph.indices


def ours_exact(Z: Floats, threads: int) -> Indices:
    from modeling.algorithms.neighbors import knn_graph

    with threadpool_limits(threads):
        return knn_graph(Z, K).indices


def _without_self(indices: Indices) -> Indices:
    """Return the K nearest others from (n, K + 1), which contain the row itself except among duplicates."""
    is_own = indices == np.arange(len(indices))[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return indices[~is_own].reshape(len(indices), K)


def faiss_exact(Z: Floats, threads: int) -> Indices:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatL2(DIMS)
    index.add(Z)
    return _without_self(index.search(Z, K + 1)[1])


def faiss_ivf(Z: Floats, threads: int) -> Indices:
    import faiss

    faiss.omp_set_num_threads(threads)
    n_cells = max(1, round(len(Z) ** 0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(DIMS), DIMS, n_cells)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.seed = 8, 40, 0
    index.train(Z)
    index.add(Z)
    sample = np.random.default_rng(0).choice(len(Z), min(len(Z), 512), replace=False)
    exact = nearest_of(Z, sample)
    index.nprobe = 4
    while index.nprobe < n_cells:
        indices = index.search(Z[sample], K + 1)[1]
        if recall_of(exact, indices) >= TARGET_RECALL:
            break
        index.nprobe = min(n_cells, round(index.nprobe * 1.25) + 1)
    print(f"    nprobe {index.nprobe} of {n_cells}", flush=True)
    return _without_self(index.search(Z, K + 1)[1])


def faiss_hnsw(Z: Floats, threads: int) -> Indices:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(DIMS, 32)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 80
    index.add(Z)
    return _without_self(index.search(Z, K + 1)[1])


def pynndescent(Z: Floats, threads: int) -> Indices:
    from pynndescent import NNDescent

    return _without_self(np.asarray(NNDescent(Z, n_neighbors=K + 1, random_state=0, n_jobs=threads).neighbor_graph[0]))


SEARCHES: dict[str, Callable[[Floats, int], Any]] = {
    "ours-exact": ours_exact,
    "faiss-exact": faiss_exact,
    "ours": ours,
    "faiss-ivf": faiss_ivf,
    "faiss-hnsw": faiss_hnsw,
    "pynndescent": pynndescent,
}
EXACT_AT_MOST = 100_000


# -- Measuring ---------------------------------------------------------------------------------------
def nearest_of(Z: Floats, rows: Indices) -> Indices:
    """Return the K nearest others of some rows, by all distances."""
    half = np.einsum("ij,ij->i", Z, Z) / 2
    indices = []
    for row in rows:
        cost = half - Z @ Z[row]
        cost[row] = np.inf
        indices.append(np.argpartition(cost, K)[:K])
    return np.array(indices)


def recall_of(exact: Indices, indices: Indices) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(exact, indices, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", choices=list(SEARCHES), nargs="+", default=list(SEARCHES))
    options = parser.parse_args()
    small = rows_of(2000)
    for name in options.only:
        for turn in ("first", "again"):
            began = time.perf_counter()
            SEARCHES[name](small, options.threads)
            print(f"2,000 rows, {turn}: {name:<12} {time.perf_counter() - began:7.2f} s", flush=True)
    for n in options.n:
        Z = rows_of(n)
        checked = np.random.default_rng(1).choice(n, CHECKED, replace=False)
        exact = nearest_of(Z, checked)
        for name in options.only:
            if "exact" in name and n > EXACT_AT_MOST:
                continue
            began, used = time.perf_counter(), time.process_time()
            indices = SEARCHES[name](Z, options.threads)
            seconds, used = time.perf_counter() - began, time.process_time() - used
            recall = recall_of(exact, indices[checked])
            print(f"{n:,} rows: {name:<12} {seconds:8.2f} s, {used:8.2f} s CPU, recall {recall:.4f}", flush=True)


if __name__ == "__main__":
    main()
