"""The product's settings plus one address that does nothing, to measure others against."""

from hoshina.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.urls"
