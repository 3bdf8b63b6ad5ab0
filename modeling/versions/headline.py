"""Choose the one accuracy that stands for a dataset's model on every page: audited from 20 images on, else held-out."""

from __future__ import annotations

from dataclasses import dataclass

from labeling.models import Dataset
from modeling.models import ModelVersion
from modeling.versions.audited_accuracy import MIN_AUDIT, Share, newest_audited, share_text


@dataclass(frozen=True)
class Headline:
    """Hold the accuracy that a page shows first: of version ``number``, measured on ``n`` labels.

    ``n`` is None where an old version did not record it. ``n_audit``: audited images, if they are too few.
    """

    number: int
    share: Share
    n: int | None
    is_audited: bool
    n_audit: int = 0

    @property
    def name(self) -> str:
        """Return the name that pages give to this number."""
        return "audited accuracy" if self.is_audited else "held-out accuracy"

    @property
    def audit(self) -> str:
        """Return how far the audit is from replacing the held-out accuracy, "" if it did or has not begun."""
        return f"{self.n_audit} of {MIN_AUDIT} images" if self.n_audit else ""


def headline_of(dataset: Dataset, model: ModelVersion | None) -> Headline | None:
    """Return the accuracy to show for the active ``model``; None if none was measured."""
    if model is None:
        return None
    audited = newest_audited(dataset.pk)
    accuracy, interval = (model.metrics.get(name) for name in ("accuracy", "accuracy_interval"))
    has_held_out = accuracy is not None and interval is not None
    if audited is not None and (audited.n_audit >= MIN_AUDIT or not has_held_out):
        share = share_text(audited.value, audited.low, audited.high)
        return Headline(audited.number, share, audited.n_audit, is_audited=True)
    if accuracy is None or interval is None:
        return None
    n_audit = audited.n_audit if audited is not None else 0
    n = sum(map(sum, model.metrics.get("confusion") or [])) or None
    return Headline(model.number, share_text(accuracy, *interval), n, is_audited=False, n_audit=n_audit)
