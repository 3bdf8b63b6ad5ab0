"""Use the product's settings with additional URLs as baselines."""

from hoshina.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.urls"
API_RATE = 0
