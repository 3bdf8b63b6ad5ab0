"""Define the exceptions by which a job ends early."""

from __future__ import annotations

from hoshina.core.errors import Refusal


class ActiveElsewhere(Refusal):
    """Another process runs the job, or is about to."""


class Cancelled(Exception):
    """A person asked this job to stop."""


class Superseded(Exception):
    """This process no longer holds the job: it ended, or another worker took it over."""


class Stopping(Exception):
    """This worker is shutting down; the job goes back to the queue where its work is restartable."""


class GivesWay(Stopping):
    """Report that other jobs wait for this worker: the job goes back to the queue behind them."""
