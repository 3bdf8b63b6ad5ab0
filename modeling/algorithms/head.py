"""Fit the classifier on top of the embeddings, multinomial logistic regression, and predict with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.features import Float32, Rows, StandardizedRows, standardize
from modeling.algorithms.rows import run_in_threads, single_blas_thread
from modeling.algorithms.scaling import Calibration
from modeling.algorithms.smoothing import Smoothing

Integers = NDArray[np.integer[Any]]
ClassWeight = Mapping[int, float] | Literal["balanced"]

# The prior variance of a logit. 10 to 30 is best for pixels, HOG and MobileNetV2 embeddings alike, because rows are
# scaled to unit mean square first.
DEFAULT_C = 20.0
# The logit of a class without labels: its probability is 0 at any temperature.
ABSENT_LOGIT = -1e9
BLOCK_ROWS = 8192
# For products of fewer multiplications one thread is as fast as two, because they wait for memory, and several times as
# fast when another process keeps a core busy, because threads then wait for each other at every product.
SMALL_PRODUCT = 5e8


@dataclass(frozen=True)
class Head:
    """A fitted classifier; its logits are one matrix product with raw (not standardized) rows."""

    weights: Float32  # (d, c)
    bias: Float32  # (c,)
    n_iter: int
    converged: bool  # False if max_iter stopped the fit

    def logits(self, X: Rows) -> Float32:
        """Return the logits (n, c) float32 of (n, d) rows."""
        logits: Float32 = np.matmul(X, self.weights, dtype=np.float32)
        logits += self.bias
        return logits


@dataclass(frozen=True)
class Solution:
    """A fitted classifier for `StandardizedRows`."""

    V: Float32  # (d, c)
    bias: Float32  # (c,)
    n_iter: int = 0
    converged: bool = True

    def logits(self, Z: Float32) -> Float32:
        """Return the logits (n, c) float32 of (n, d) standardized rows."""
        logits: Float32 = Z @ self.V
        logits += self.bias
        return logits


def fit_head(
    X: Rows,
    y: ArrayLike,
    *,
    n_classes: int,
    C: float = DEFAULT_C,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight | None = None,
    start: Head | None = None,
    max_iter: int = 500,
    tol: float = 1e-5,
) -> Head:
    """Fit multinomial logistic regression with an L2 penalty on the weights, in float32 by L-BFGS.

    Minimizes ``C * sum(weight * log loss) + |W|^2 / 2`` over standardized rows (see `standardization`), with an
    unpenalized bias. The standardization is then folded into the weights.

    Parameters
    ----------
    X
        (n, d) labeled rows.
    y
        (n,) class positions in ``0..n_classes-1``.
    n_classes
        Number of columns. A class without labels gets `ABSENT_LOGIT`.
    C
        Inverse strength of the penalty.
    sample_weight, class_weight
        Weights of rows and of classes (a mapping from position, or ``"balanced"``); they multiply.
    start
        Warm start, for example the previous head. It affects speed, not the optimum.
    max_iter, tol
        Stop after this many iterations, or when one improves the objective by less than this relative amount.

    Raises
    ------
    ValueError
        If rows are not finite, shapes do not match, or all labels are of one class.

    Notes
    -----
    O(n d c) per iteration, some tens of iterations. Deterministic for the same number of BLAS threads.
    """
    X, y = validate_rows(X, y, n_classes)
    weight = row_weights(y, n_classes, sample_weight, class_weight)
    rows = standardize(X)
    begin = None if start is None else warm_start(rows, start, n_classes)
    solution = solve(rows.Z, y, n_classes=n_classes, C=C, weight=weight, start=begin, max_iter=max_iter, tol=tol)
    return unstandardized_head(rows, solution)


def unstandardized_head(rows: StandardizedRows, solution: Solution) -> Head:
    """Convert a solution into a head for raw rows; absent classes stay absent."""
    weights, bias = rows.unstandardize_weights(solution.V, solution.bias)
    bias[solution.bias <= ABSENT_LOGIT] = ABSENT_LOGIT
    return Head(weights, bias, solution.n_iter, solution.converged)


def warm_start(rows: StandardizedRows, start: Head, n_classes: int) -> Solution:
    """Convert a head into a starting point. Raises ValueError if its shape differs."""
    expected = (rows.mean.size, n_classes)
    if start.weights.shape != expected or start.bias.shape != expected[1:]:
        raise ValueError(f"The head to start from must have weights of shape {expected}.")
    V, bias = rows.standardize_weights(start.weights, start.bias)
    bias[start.bias <= ABSENT_LOGIT] = ABSENT_LOGIT
    return Solution(V, bias)


def solve(
    Z: Float32,
    y: Integers,
    *,
    n_classes: int,
    C: float = DEFAULT_C,
    weight: Float32 | None = None,
    start: Solution | None = None,
    max_iter: int = 500,
    tol: float = 1e-5,
) -> Solution:
    """Fit as `fit_head` does, on rows (n, d) that are already standardized."""
    from scipy.optimize import minimize  # late: SciPy takes long to import, and the web server never fits

    if weight is None:
        weight = np.ones(y.size, np.float32)
    present = np.flatnonzero(np.bincount(y, weights=weight, minlength=n_classes) > 0)
    if present.size < 2:
        raise ValueError("All labels are of one class. Label at least one image of a second class.")
    position = np.full(n_classes, -1)
    position[present] = np.arange(present.size)
    used = weight > 0
    if not used.all():
        Z, y, weight = Z[used], y[used], weight[used]
    objective = _Objective(Z, position[y], weight, present.size, C)
    first = objective.first(start, present)
    with single_blas_thread() if Z.size * present.size < SMALL_PRODUCT else nullcontext():
        objective.condition(first)
        result = minimize(
            objective,
            (first / objective.step).ravel().astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iter, "maxfun": 20 * max_iter, "ftol": tol, "gtol": 1e-6},
        )
    fitted = objective.unpack(result.x)
    V = np.zeros((Z.shape[1], n_classes), np.float32)
    bias = np.full(n_classes, ABSENT_LOGIT, np.float32)
    V[:, present] = fitted[:-1]
    bias[present] = fitted[-1]
    # Status 1: iteration limit. Status 2: no further improvement, the precision of float32 is reached.
    return Solution(V, bias, int(result.nit), int(result.status) != 1)


class _Objective:
    """Penalized log loss and its gradient, with diagonal preconditioning (steps of about equal curvature)."""

    def __init__(self, Z: Float32, y: Integers, weight: Float32, n_classes: int, C: float) -> None:
        self.Z = Z
        self.y = y
        self.n_classes = n_classes
        self.rows = np.arange(y.size)
        self.weight = (C * weight).astype(np.float32)
        self.step = np.ones((Z.shape[1] + 1, n_classes), np.float32)

    def first(self, start: Solution | None, present: NDArray[np.intp]) -> Float32:
        """Return the starting point (d + 1, classes): weights above, bias in the last row."""
        point = np.zeros((self.Z.shape[1] + 1, self.n_classes), np.float32)
        share = np.bincount(self.y, weights=self.weight, minlength=self.n_classes)
        point[-1] = np.log(share / share.sum())
        if start is not None:
            is_present = start.bias[present] > ABSENT_LOGIT
            point[:-1] = start.V[:, present]
            point[-1, is_present] = start.bias[present][is_present]
        return point

    def condition(self, point: Float32) -> None:
        """Set the step sizes from the diagonal of the Hessian at a point.

        The curvature of feature j and class k is approximated by var_j * sum(p_k (1 - p_k)), as if both were
        independent. This is accurate enough and needs no further product.
        """
        logits = self.Z @ point[:-1] + point[-1]
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        probability /= probability.sum(axis=1, keepdims=True)
        probability *= 1 - probability
        curvature = self.weight @ probability
        variance = np.einsum("ij,ij->j", self.Z, self.Z) / np.float32(self.y.size)
        self.step[:-1] = 1 / np.sqrt(np.outer(variance, curvature) + 1)
        self.step[-1] = 1 / np.sqrt(curvature + 1e-3)

    def unpack(self, values: NDArray[np.float64]) -> Float32:
        """Return the optimizer's variables as (d + 1, classes) weights and bias."""
        return values.reshape(self.step.shape).astype(np.float32) * self.step

    def __call__(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = self.unpack(values)
        weights = point[:-1]
        logits = self.Z @ weights
        logits += point[-1]
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[self.rows, self.y].astype(np.float64)
        np.exp(logits, out=logits)
        total = logits.sum(axis=1)
        loss = float(self.weight @ (np.log(total) - own)) + 0.5 * float(np.vdot(weights, weights))
        logits *= (self.weight / total)[:, None]
        logits[self.rows, self.y] -= self.weight
        gradient = np.empty_like(point)
        np.matmul(self.Z.T, logits, out=gradient[:-1])
        gradient[:-1] += weights
        gradient[-1] = logits.sum(axis=0)
        gradient *= self.step
        return loss, gradient.ravel().astype(np.float64)


def validate_rows(X: Rows, y: ArrayLike, n_classes: int) -> tuple[Rows, Integers]:
    """Return ``X`` (n, d) and ``y`` (n,) as arrays, or raise ValueError if they cannot be trained on."""
    X, labels = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or labels.shape != X.shape[:1]:
        raise ValueError("Rows must be (n, d) and come with n labels.")
    if not labels.size:
        raise ValueError("There are no labels yet. Label at least one image in each of two classes.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError("Labels must be integers, the positions of their classes.")
    if not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ValueError(f"A label lies outside 0..{n_classes - 1}.")
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if bad.size:
        raise ValueError(f"{bad.size} labeled rows have NaN or infinite values; the first is row {bad[0]}.")
    return X, labels


def row_weights(
    y: Integers, n_classes: int, sample_weight: ArrayLike | None, class_weight: ClassWeight | None
) -> Float32:
    """Return the weight (n,) float32 of each row: its sample weight times its class weight."""
    weight = np.ones(y.size) if sample_weight is None else np.array(sample_weight, np.float64)
    if weight.shape != y.shape or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("Every row needs one weight of zero or more.")
    if class_weight == "balanced":
        share = np.bincount(y, minlength=n_classes)
        weight *= y.size / (np.count_nonzero(share) * share[y])
    elif class_weight is not None:
        factors = np.ones(n_classes)
        for position, factor in class_weight.items():
            factors[position] = factor
        if not np.isfinite(factors).all() or (factors < 0).any():
            raise ValueError("Every class needs a weight of zero or more.")
        weight *= factors[y]
    return weight.astype(np.float32)


def predict_in_blocks(
    X: Rows,
    head: Head,
    calibration: Calibration | float,
    out: Float32,
    *,
    valid: NDArray[np.bool_] | None = None,
    smoothing: Smoothing | None = None,
    steps: int = 0,
    block_rows: int = BLOCK_ROWS,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the probabilities of every row into ``out`` (n, c) float32, in bounded memory.

    ``X`` (n, d) and ``out`` may be memory-mapped. Rows that are not ``valid`` (n,) become NaN. A number given as
    ``calibration`` is a temperature. The logits are smoothed by a number of ``steps``: the head is linear, so that this
    is the same as smoothing the rows. ``on_progress(done, total)`` is called after each block and may raise to stop.
    Raises ValueError if shapes do not match or the temperature is not above 0.
    """
    n = X.shape[0]
    if X.shape[1:] != head.weights.shape[:1] or out.shape != (n, head.bias.size):
        raise ValueError("Rows, head and output must have matching shapes (n, d), (d, c) and (n, c).")
    if valid is not None and valid.shape != (n,):
        raise ValueError("Every row needs one entry in valid.")
    if block_rows < 1:
        raise ValueError("Blocks must have at least one row.")
    if not isinstance(calibration, Calibration):
        calibration = Calibration("temperature", calibration)
    weights, bias = calibration.linear(head.weights, head.bias)
    blocks = [slice(begin, min(begin + block_rows, n)) for begin in range(0, n, block_rows)]

    def finish(part: slice) -> None:
        block = out[part]
        with np.errstate(invalid="ignore", over="ignore"):
            calibration.finish(block)
            block -= block.max(axis=1, keepdims=True)
            np.exp(block, out=block)
            block /= block.sum(axis=1, keepdims=True)
        if valid is not None:
            block[~valid[part]] = np.nan

    is_smoothed = smoothing is not None and steps > 0

    def fill(part: slice) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            np.matmul(X[part], weights, out=out[part])
            out[part] += bias
        if not is_smoothed:
            finish(part)

    def report(part: slice) -> None:
        if on_progress is not None:
            on_progress(part.stop, n)

    run_in_threads(fill, blocks, report)
    if smoothing is not None and is_smoothed:
        smoothing.smooth(out, steps)
        run_in_threads(finish, blocks, lambda _: None)
