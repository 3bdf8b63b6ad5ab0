"""Define the exceptions by which a job ends early."""

from __future__ import annotations


class JobError(Exception):
    """A failure that a person can act on: shown as it is, without a traceback.

    Parameters
    ----------
    message : what went wrong, in plain words.
    hint : what to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ActiveElsewhere(JobError):
    """Another process runs the job, or is about to."""


class Cancelled(Exception):
    """Somebody asked this job to stop."""


class Superseded(Exception):
    """This process no longer holds the job: it ended, or another worker took it over."""


class Stopping(Exception):
    """This worker is shutting down; the job goes back to the queue where its work is restartable."""
