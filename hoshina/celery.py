"""Define the Celery application for ``celery -A hoshina worker``; its configuration is in settings.py."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")

app = Celery("hoshina")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
