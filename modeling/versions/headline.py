"""Choose the one accuracy that stands for a dataset's model on every page: audited if there is one, else held-out."""

from __future__ import annotations

from dataclasses import dataclass

from labeling.models import Dataset
from modeling.models import ModelVersion
from modeling.versions.audited_accuracy import Share, newest_audited, share_text


@dataclass(frozen=True)
class Headline:
    """The accuracy that a page shows first: of version ``number``, measured on ``n`` labels.

    ``n`` is None where an old version did not record it.
    """

    number: int
    share: Share
    n: int | None
    is_audited: bool

    @property
    def name(self) -> str:
        """Return the name that pages give to this number."""
        return "audited accuracy" if self.is_audited else "held-out accuracy"


def headline_of(dataset: Dataset, model: ModelVersion | None) -> Headline | None:
    """Return the accuracy to show for the active ``model``; None if none was measured."""
    if model is None:
        return None
    audited = newest_audited(dataset.pk)
    if audited is not None:
        share = share_text(audited.value, audited.low, audited.high)
        return Headline(audited.number, share, audited.n_audit, is_audited=True)
    accuracy, interval = (model.metrics.get(name) for name in ("accuracy", "accuracy_interval"))
    if accuracy is None or interval is None:
        return None
    n = sum(map(sum, model.metrics.get("confusion") or [])) or None
    return Headline(model.number, share_text(accuracy, *interval), n, is_audited=False)
