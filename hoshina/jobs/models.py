"""Store background jobs. A job's row holds its state; the broker only carries messages that it exists."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from hoshina.jobs import clock


class Job(models.Model):
    """A background job with its state, stage and progress, and an error that a person can act on."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        LOST = "lost", "Lost"

    ACTIVE = (State.QUEUED, State.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    queue = models.CharField(max_length=20)
    # Datasets belong to an app above this one, hence a number and no foreign key.
    dataset_id = models.BigIntegerField(null=True)
    params = models.JSONField(default=dict)
    # Jobs with the same key ("retrain:3") are the same job; at most one of them is active.
    key = models.CharField(max_length=200)

    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    stage = models.CharField(max_length=200, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    hint = models.TextField(blank=True)

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    stage_started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["key"], condition=Q(state__in=["queued", "running"]), name="one_active_job_per_key"
            )
        ]
        indexes = [
            models.Index(fields=["state", "created_at"], name="job_state"),
            models.Index(fields=["dataset_id", "-created_at"], name="job_dataset"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state} ({str(self.id)[:8]})"

    @property
    def is_active(self) -> bool:
        return self.state in self.ACTIVE


class Chunk(models.Model):
    """A part [start, stop) of a job's work that any worker may take."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="chunks")
    start = models.BigIntegerField()
    stop = models.BigIntegerField()
    done = models.BooleanField(default=False)
    worker = models.CharField(max_length=200, blank=True)
    heartbeat_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "start"], name="one_chunk_per_start")]


class Worker(models.Model):
    """A worker process that sent a heartbeat lately, so that a page can say when there is none."""

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.CharField(max_length=100)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
