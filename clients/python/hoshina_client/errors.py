"""Define the errors that this package raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoshina_client.jobs import Job
    from hoshina_client.labels import Saved


class HoshinaError(Exception):
    """Say what happened (``message``) and what to do about it (``hint``)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class Unreachable(HoshinaError):
    """No server was found or none answers, also after several attempts."""


class Refused(HoshinaError):
    """Report that the server refused a request. ``status`` is that of HTTP, ``field`` the parameter at fault."""

    def __init__(self, message: str, hint: str = "", *, status: int = 0, field: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.field = field
        # The whole answer of the server.
        self.body: dict[str, Any] = {}


@dataclass(frozen=True)
class ConflictingDecision:
    """Report a decision that someone else made in the meantime: about which item, what, and who made it."""

    item_id: int
    state: str
    label: str | None
    by: str | None

    def __str__(self) -> str:
        what = repr(self.label) if self.label is not None else self.state
        return f"item {self.item_id} is {what} by {self.by or 'someone else'}"


_LISTED = 3


class Conflict(Refused):
    """Someone else decided about some of the items in the meantime. These were left; all others were saved."""

    def __init__(self, conflicts: list[ConflictingDecision], saved: Saved) -> None:
        listed = "; ".join(str(decision) for decision in conflicts[:_LISTED])
        more = f" and {len(conflicts) - _LISTED:,} more" if len(conflicts) > _LISTED else ""
        super().__init__(
            f"Someone else decided about {len(conflicts):,} of the items in the meantime: {listed}{more}.",
            "All other decisions were saved. To replace theirs, call again with overwrite=True.",
            status=409,
        )
        self.conflicts = conflicts
        self.saved = saved


class JobFailed(HoshinaError):
    """Report that a job failed, was canceled or was lost. ``job`` has the details."""

    def __init__(self, job: Job) -> None:
        what = {"failed": "failed", "cancelled": "was canceled", "lost": "was lost: its worker stopped"}
        message = f"The job “{job.title}” {what.get(job.state, job.state)}."
        super().__init__(f"{message} {job.error}".strip(), job.hint)
        self.job = job
