"""Store the tokens by which programs get in."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from hoshina.jobs import clock

MAX_NAME = 80


class Token(models.Model):
    """Let a program act for a person until it expires. Only a hash is stored, so the text is shown once."""

    class Scope(models.TextChoices):
        READ = "read", "Read only"
        WRITE = "write", "Read and write"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=MAX_NAME)
    # SHA-256 of the text, which has 256 random bits: nobody can guess it, so a slow hash would protect nothing more.
    digest = models.CharField(max_length=64, unique=True)
    # The first characters of the text, by which a person recognizes it.
    start = models.CharField(max_length=20)
    scope = models.CharField(max_length=5, choices=Scope)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    # Saved at most once a minute.
    last_used_at = models.DateTimeField(null=True)
    # Made by `up` for programs of this machine's user (hoshina.api.local_access).
    is_local = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]
        verbose_name = "token"

    def __str__(self) -> str:
        return f"{self.name} ({self.start}…)"
