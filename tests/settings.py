"""Settings of the processes that tests start: the product's, with shorter pauses and the jobs of tests/jobs."""

import os

from hoshina.settings import *  # noqa: F403
from hoshina.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.jobs"]
JOB_PROGRESS = 0.05
JOB_HEARTBEAT = float(os.environ.get("TEST_JOB_HEARTBEAT", "0.2"))
JOB_STALE = float(os.environ.get("TEST_JOB_STALE", "2"))
JOB_RESEND = 1.0
JOB_HELP = 1.0
JOB_GRACE = 1.0
