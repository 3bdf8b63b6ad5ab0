"""Time maps, from vectors to places, against umap-learn, openTSNE and scikit-learn's t-SNE, in one run.

    python -m benchmarks.projections
        [--n 20000] [--dim 1280] [--tsne 10000] [--large 0] [--folder FOLDER]

The vectors are the images of Fashion-MNIST and their mirror images (Debian: dataset-fashion-mnist; otherwise synthetic
vectors as in benchmarks.retrain) through a random layer of ``dim`` units. The product's maps include principal
components, neighbors and layout. All sides are compiled on a few rows before timing; import and compilation in a fresh
process are timed separately. UMAP: the product gives umap-learn its neighbors and start and runs it with a seed, which
takes one core. It is compared with umap-learn's defaults, with a seed and on all cores without one, and with
umap-learn's layout on all cores from the product's neighbors. t-SNE: openTSNE from the same neighbors and start on as
many threads, and scikit-learn's from the same principal components. Trustworthiness is scikit-learn's, on a sample of
the vectors, with 15 neighbors. ``--large`` lays out this many synthetic rows as the product does beyond 100,000: a
sample is laid out, the others are placed; also measures peak memory.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE, trustworthiness

from benchmarks.label_efficiency.data import FASHION
from benchmarks.retrain import likely_vectors, memory
from modeling.algorithms.ivf_neighbors import approximate_knn_graph
from modeling.algorithms.layouts import tsne
from modeling.algorithms.layouts.initialization import initial_layout, smooth_along_graph
from modeling.algorithms.layouts.placement import place_points
from modeling.algorithms.neighbors import Graph, knn_graph, project
from modeling.backends import umap_learn

Floats = NDArray[np.float32]
SAMPLE = 5000
SCIKIT_AT_MOST = 20_000
# As in the product: modeling/encoders/neighbor_cache.py and modeling/maps/pipeline.py.
N_NEIGHBORS, EXACT, FITTED, PERPLEXITY = 30, 20_000, 100_000, 30


def vectors(n: int, dim: int) -> Floats:
    """Return (n, dim) vectors, of real images if available."""
    if not FASHION.is_dir():
        return likely_vectors(n, dim, 10, 0)[0]
    images = np.concatenate([_pixels(FASHION / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")])
    flat = np.concatenate([images, images[:, :, ::-1]])[:n].reshape(-1, 784).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    layer = rng.standard_normal((784, dim)).astype(np.float32) / 28
    return np.maximum(flat @ layer + rng.normal(0, 0.3, dim).astype(np.float32), 0)


def _pixels(file: Path) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)


def neighbor_graph(Z: Floats, k: int) -> Graph:
    if len(Z) <= EXACT:
        return knn_graph(Z, k)
    return approximate_knn_graph(Z, k, rng=np.random.default_rng(0)).graph


def our_umap(X: Floats, *, is_parallel: bool = False) -> Floats:
    Z = project(X, rng=np.random.default_rng(0))
    weights = umap_learn.fuzzy_graph(neighbor_graph(Z, N_NEIGHBORS), 15)
    start = initial_layout(smooth_along_graph(project(Z, rng=np.random.default_rng(0), dims=2), weights), 0)
    return umap_learn.lay_out(weights, start, min_dist=0.1, seed=0, is_parallel=is_parallel)


def our_tsne(X: Floats) -> Floats:
    graph, start = neighbors_and_start(X)
    return tsne.lay_out(tsne.affinities(graph, PERPLEXITY), start)


def open_tsne(X: Floats) -> Floats:
    """Run openTSNE from the product's neighbors and start, with as many iterations."""
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    graph, start = neighbors_and_start(X)
    places = start.astype(np.float64) * (1e-4 / start[:, 0].std())
    index = PrecomputedNeighbors(graph.indices, graph.distances.astype(np.float64))
    affinities = PerplexityBasedNN(knn_index=index, perplexity=PERPLEXITY, n_jobs=tsne.cores())
    embedding = TSNEEmbedding(places, affinities, n_jobs=tsne.cores(), random_state=0)
    embedding.optimize(tsne.EARLY, inplace=True, exaggeration=tsne.EXAGGERATION, momentum=0.8)
    embedding.optimize(tsne.ITERATIONS - tsne.EARLY, inplace=True, momentum=0.8)
    return np.array(embedding, np.float32)


def neighbors_and_start(X: Floats) -> tuple[Graph, Floats]:
    """Return the neighbors and the start of a t-SNE layout."""
    Z = project(X, rng=np.random.default_rng(0))
    return neighbor_graph(Z, 3 * PERPLEXITY), initial_layout(project(Z, rng=np.random.default_rng(0), dims=2), 0)


def measure(name: str, X: Floats, work: Callable[[Floats], Floats]) -> tuple[float, float]:
    """Return and print seconds and trustworthiness."""
    began = time.perf_counter()
    places = work(X)
    seconds = time.perf_counter() - began
    sample = np.random.default_rng(1).choice(len(X), min(SAMPLE, len(X)), replace=False)
    true = float(trustworthiness(X[sample], places[sample], n_neighbors=15))
    print(f"  {name:<44} {seconds:8.2f} s   trustworthiness {true:.4f}", flush=True)
    return seconds, true


def against_umap_learn(n: int, dim: int) -> None:
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]  # the parts that need it are not used here
    from umap import UMAP

    X = vectors(n, dim)
    print(f"UMAP, {n:,} x {dim:,}", flush=True)
    for seed in (None, 0):
        UMAP(n_epochs=2, random_state=seed).fit(X[:5000])
    our_umap(X[:200])
    our_umap(X[:200], is_parallel=True)
    ours = measure("the product, with a seed", X, our_umap)
    measure("the product's steps, layout on all cores", X, lambda X: our_umap(X, is_parallel=True))
    theirs = measure("umap-learn, defaults", X, lambda X: np.asarray(UMAP().fit_transform(X)))
    seeded = measure("umap-learn, with a seed", X, lambda X: np.asarray(UMAP(random_state=0).fit_transform(X)))
    print(f"  -> time {ours[0] / theirs[0]:.2f}, trustworthiness {ours[1] / theirs[1]:.3f} (target 0.98)")
    print(f"  -> with a seed on both sides: time {ours[0] / seeded[0]:.2f}, trustworthiness {ours[1] / seeded[1]:.3f}")


def against_other_tsne(n: int, dim: int) -> None:
    X = vectors(n, dim)
    print(f"t-SNE, {n:,} x {dim:,}", flush=True)
    our_tsne(X[:200])
    ours = measure("ours", X, our_tsne)
    others = {"openTSNE": open_tsne}
    if n <= SCIKIT_AT_MOST:
        others["scikit-learn's"] = lambda X: np.asarray(
            TSNE(random_state=0, n_jobs=-1).fit_transform(project(X, rng=np.random.default_rng(0)))
        )
    for name, work in others.items():
        other = measure(name, X, work)
        print(f"  -> time {ours[0] / other[0]:.2f}, trustworthiness {ours[1] / other[1]:.3f}")


_FIRST = """
import warnings
warnings.simplefilter("ignore")
import numpy as np
from modeling.algorithms.neighbors import knn_graph
X = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32)
graph = knn_graph(X, 90)
"""
_UMAP = """
from modeling.backends import umap_learn
umap_learn.lay_out(umap_learn.fuzzy_graph(graph, 15), X[:, :2], min_dist=0.1, seed=0, n_epochs=1)
"""
_TSNE = (
    "from modeling.algorithms.layouts import tsne; tsne.lay_out(tsne.affinities(graph, 30), X[:, :2], n_iterations=1)"
)


def imports() -> None:
    """Time the first map of a fresh process, without and with code compiled by an earlier process."""
    print("Importing and compiling, each in a fresh process", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, program in (("neighbors only", ""), ("UMAP", _UMAP), ("t-SNE", _TSNE)):
            for turn in ("first", "later"):
                began = time.perf_counter()
                environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
                subprocess.run([sys.executable, "-c", _FIRST + program], check=True, env=environment)
                print(f"  {name + ', ' + turn:<44} {time.perf_counter() - began:8.2f} s", flush=True)


def very_many(n: int, dim: int, folder: Path | None) -> None:
    X, _ = likely_vectors(n, dim, 10, 0, None if folder is None else folder / "vectors.npy")
    print(f"{n:,} x {dim:,}: {FITTED:,} laid out, the others placed", flush=True)
    rng = np.random.default_rng(0)
    with memory() as peak:
        began = time.perf_counter()
        Z = project(X, rng=rng)
        print(f"  principal components {time.perf_counter() - began:8.2f} s", flush=True)
        fitted = np.sort(rng.choice(n, min(n, FITTED), replace=False))
        places = np.empty((n, 2), np.float32)
        weights = umap_learn.fuzzy_graph(neighbor_graph(Z[fitted], N_NEIGHBORS), 15)
        start = smooth_along_graph(project(Z, rng=rng, dims=2)[fitted], weights)
        places[fitted] = umap_learn.lay_out(weights, initial_layout(start, 0), min_dist=0.1, seed=0)
        print(f"  and the sample laid out {time.perf_counter() - began:8.2f} s", flush=True)
        others = np.setdiff1d(np.arange(n), fitted)
        places[others] = place_points(Z[others], Z[fitted], places[fitted], rng=rng)
        print(f"  and all placed {time.perf_counter() - began:8.2f} s", flush=True)
    print(f"  peak private memory {peak[0]:,.0f} MB, with mapped files {peak[1]:,.0f} MB")
    for name, rows in (("fitted", fitted), ("placed", others)):
        sample = rng.choice(rows, SAMPLE, replace=False)
        true = trustworthiness(Z[sample], places[sample], n_neighbors=15)
        print(f"  trustworthiness of {SAMPLE:,} {name}: {true:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--tsne", type=int, default=10_000, help="rows for t-SNE; 0: skip")
    parser.add_argument("--large", type=int, default=0, help="rows laid out by a sample; 0: skip")
    parser.add_argument("--folder", type=Path, help="memory-map the vectors of --large in a file in this folder")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    imports()
    if options.n:
        against_umap_learn(options.n, options.dim)
    if options.tsne:
        against_other_tsne(options.tsne, options.dim)
    if options.large:
        very_many(options.large, options.dim, options.folder)


if __name__ == "__main__":
    main()
