"""Fit corrections of logits to held-out labels: a temperature, Platt's sigmoid, or a scale and shift per class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.features import Float32
from modeling.algorithms.head import ABSENT_LOGIT
from modeling.algorithms.scaling import Calibration, log_odds

Integers = NDArray[np.integer[Any]]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# Standard deviation of the prior on how far vector scaling lets a class differ from the common temperature.
VECTOR_PRIOR_SD = 0.25


def logit_log_loss(
    logits: NDArray[np.floating[Any]], y: Integers, temperature: float = 1.0, weight: Float32 | None = None
) -> float:
    """Return the weighted mean log loss (nats) of logits (n, c) at a temperature, without rounding probabilities."""
    gaps, own = _gaps(logits, y)
    return _loss(gaps, own, 1 / temperature, weight)


def logit_losses(logits: NDArray[np.floating[Any]], y: Integers, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the log loss (n,) in nats of each row of logits (n, c) at a temperature."""
    gaps, own = _gaps(logits, y)
    return _losses(gaps, own, 1 / temperature)


def fit_temperature(
    logits: NDArray[np.floating[Any]],
    y: ArrayLike,
    *,
    prior: float = 1.0,
    prior_sd: float | None = None,
    weight: Float32 | None = None,
) -> float:
    """Return the temperature in 0.05..20 that minimizes the log loss of the logits (Guo et al., 2017).

    Returns the prior's temperature if no other is better, so that without a prior the log loss never increases on the
    data of the fit.

    Parameters
    ----------
    logits
        (n, c) logits of rows that the model was not fitted on; minus infinity is allowed, NaN is not.
    y
        (n,) true class positions. Rows whose class has probability 0 at any temperature are left out.
    prior, prior_sd
        Center (a temperature) and standard deviation of a prior on log temperature; no deviation: no prior. It
        keeps a few rows that all happen to be correct from giving extreme confidence. It is normal near its center
        and has heavier tails, so that many rows that disagree with it prevail.
    weight
        (n,) weight of each row; None: all equal.
    """
    from scipy.optimize import minimize_scalar  # late: SciPy takes long to import, and the web server never fits

    logits, labels = np.asarray(logits), np.asarray(y)
    if np.isnan(logits).any():
        raise ValueError("Some logits are NaN. Leave those rows out.")
    gaps, own = _gaps(logits, labels)
    possible = own > ABSENT_LOGIT / 2
    gaps, own = gaps[possible], own[possible]
    weight = None if weight is None else weight[possible]
    if not own.size:
        return prior
    center = float(np.log(prior))

    def cost(log_temperature: float) -> float:
        penalty = 0.0 if prior_sd is None else 4 * (float(np.hypot(1, (log_temperature - center) / prior_sd / 2)) - 1)
        return _loss(gaps, own, float(np.exp(-log_temperature)), weight) + penalty / own.size

    # The loss is convex in 1/T, so it has a single minimum in log T as well.
    bounds = (float(np.log(MIN_TEMPERATURE)), float(np.log(MAX_TEMPERATURE)))
    result = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(result.x)) if result.fun < cost(center) else prior


def fit_platt(logits: Float32, y: Integers) -> Calibration:
    """Fit Platt's sigmoid to the one-vs-rest log odds of each class (c slopes and c offsets).

    Platt, "Probabilistic outputs for support vector machines" (1999), with his smoothed targets, which keep a few rows
    from giving extreme confidence. Slopes are positive, so that the order of classes does not reverse. Classes without
    rows keep slope 1 and offset 0.
    """
    from scipy.optimize import minimize  # late: SciPy takes long to import, and the web server never fits

    n, n_classes = logits.shape
    odds = log_odds(logits).astype(np.float64)
    counts = np.bincount(y, minlength=n_classes)
    present = np.flatnonzero(counts)
    odds = odds[:, present]
    target = np.where(
        y[:, None] == present, (counts[present] + 1) / (counts[present] + 2), 1 / (n - counts[present] + 2)
    )

    def cost(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, offset = values.reshape(2, -1)
        with np.errstate(over="ignore"):
            score = slope * odds + offset
            # The cross entropy of sigmoid(score) and its derivative.
            loss = np.logaddexp(0, score) - target * score
            residual = 1 / (1 + np.exp(-score)) - target
        return float(loss.sum()), np.concatenate([(residual * odds).sum(axis=0), residual.sum(axis=0)])

    start = np.concatenate([np.ones(present.size), np.zeros(present.size)])
    bounds = [(1e-3, 20.0)] * present.size + [(None, None)] * present.size
    result = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    scale, shift = np.ones(n_classes, np.float32), np.zeros(n_classes, np.float32)
    scale[present], shift[present] = result.x.reshape(2, -1)
    return Calibration("platt", scale=scale, shift=shift)


def fit_vector(logits: Float32, y: Integers, temperature: float) -> Calibration:
    """Fit a scale and a shift for each class (Guo et al., 2017), with a prior centered on the common temperature.

    Classes with few labels stay close to it; classes without labels stay at it.
    """
    from scipy.optimize import minimize  # late: SciPy takes long to import, and the web server never fits

    n_classes = logits.shape[1]
    present = np.flatnonzero(np.bincount(y, minlength=n_classes))
    Z = logits[:, present].astype(np.float64) / temperature
    truth = np.searchsorted(present, y)
    rows = np.arange(y.size)

    def cost(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        factor, shift = values.reshape(2, -1)
        probability = Z * factor + shift
        probability -= probability.max(axis=1, keepdims=True)
        own = probability[rows, truth].copy()
        np.exp(probability, out=probability)
        total = probability.sum(axis=1)
        loss = float((np.log(total) - own).sum()) + (np.square(factor - 1) + np.square(shift)).sum() / twice_variance
        probability /= total[:, None]
        probability[rows, truth] -= 1
        gradient = np.stack([(probability * Z).sum(axis=0), probability.sum(axis=0)])
        gradient += 2 * np.stack([factor - 1, shift]) / twice_variance
        return float(loss), gradient.ravel()

    twice_variance = 2 * VECTOR_PRIOR_SD**2
    start = np.concatenate([np.ones(present.size), np.zeros(present.size)])
    bounds = [(0.05, 20.0)] * present.size + [(None, None)] * present.size
    result = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    scale, shift = np.full(n_classes, 1 / temperature, np.float32), np.zeros(n_classes, np.float32)
    scale[present] = result.x[: present.size] / temperature
    shift[present] = result.x[present.size :]
    return Calibration("vector", scale=scale, shift=shift)


def _gaps(logits: NDArray[np.floating[Any]], y: Integers) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return how far each logit, and that of the true class, lies below the row's maximum."""
    if logits.ndim != 2 or y.shape != logits.shape[:1]:
        raise ValueError("Logits must be (n, c) and come with n true classes.")
    gaps = logits - logits.max(axis=1, keepdims=True)
    return gaps, gaps[np.arange(y.size), y].astype(np.float64)


def _loss(gaps: NDArray[Any], own: NDArray[Any], inverse_temperature: float, weight: Float32 | None = None) -> float:
    return float(np.average(_losses(gaps, own, inverse_temperature), weights=weight))


def _losses(gaps: NDArray[Any], own: NDArray[Any], inverse_temperature: float) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = (
        np.log(np.exp(gaps * gaps.dtype.type(inverse_temperature)).sum(axis=1)) - own * inverse_temperature
    )
    return losses
