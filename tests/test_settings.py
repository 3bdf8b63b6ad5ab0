"""What the settings promise: safe defaults on this machine, demands beyond it, a light web process."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from hoshina import checks, health
from tests.parts import ROOT
from tests.processes import run_python


def run(code: str, store: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_python("-W", "error::ResourceWarning", "-c", code, store=store, code=None, **variables)


@pytest.mark.slow
def test_the_web_process_never_loads_what_only_workers_need(tmp_path: Path) -> None:
    code = """
import sys
import django
from django.core.management import call_command
from hoshina.wsgi import application
call_command("migrate", verbosity=0)
# Each takes about a second. Pages that rank images may load scikit-learn later.
print(sorted(name for name in ("sklearn", "pandas", "scipy.optimize", "scipy.stats") if name in sys.modules))
from django.test import Client
from django.urls import reverse
from labeling.models import Dataset
dataset = Dataset.objects.create(name="a", slug="a", root="/nowhere")
client = Client(headers={"host": "localhost"})
pages = [
    reverse("home"), reverse("jobs:page"), reverse("jobs:strip", args=[dataset.pk]), "/healthz",
    reverse("workbench", args=["a"]), reverse("labeling:classes", args=["a"]),
    reverse("labeling:problems", args=["a"]), reverse("labeling:export", args=["a"]),
    reverse("labeling:images", args=["a"]),
    reverse("labeling:datasets"), reverse("modeling:model", args=["a"]), reverse("modeling:badge", args=["a"]),
    reverse("sampling:grid", args=["a"]), reverse("sampling:queues", args=["a"]), reverse("admin:index"),
]
for page in pages:
    status = client.get(page, follow=True).status_code
    assert status in (200, 286), (page, status)
# The kinds of job too: a page that starts one knows them.
from hoshina.jobs.registry import discover
discover()
heavy = ("tensorflow", "keras", "torch", "umap", "numba", "astropy", "tifffile", "pydicom", "pillow_heif")
print(sorted(name for name in heavy if name in sys.modules))
"""
    done = run(code, tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.slow
def test_listening_beyond_this_machine_has_conditions(tmp_path: Path) -> None:
    code = "from django.conf import settings; print(settings.LOGIN_REQUIRED, settings.LOCAL_ONLY)"
    assert run(code, tmp_path).stdout.split() == ["False", "True"]
    refused = run(code, tmp_path, AL_HOST="0.0.0.0")
    assert "accepts connections from other machines, which also needs AL_ALLOWED_HOSTS" in refused.stderr
    given = {"AL_HOST": "0.0.0.0", "AL_SECRET_KEY": "k" * 50, "AL_ALLOWED_HOSTS": "labels.example.org"}
    assert run(code, tmp_path, **given).stdout.split() == ["True", "False"]
    refused = run(code, tmp_path, **given, AL_LOGIN="0")
    assert "which also needs AL_LOGIN=1" in refused.stderr
    refused = run(code, tmp_path, **given | {"AL_SECRET_KEY": "secret"})
    assert "32 characters or more" in refused.stderr


@pytest.mark.slow
def test_a_proxy_on_this_machine_asks_people_to_sign_in_too(tmp_path: Path) -> None:
    code = "from django.conf import settings; print(settings.LOGIN_REQUIRED, settings.LOCAL_ONLY)"
    assert run(code, tmp_path, AL_ALLOWED_HOSTS="localhost").stdout.split() == ["False", "True"]
    assert run(code, tmp_path, AL_ALLOWED_HOSTS="labels.example.org").stdout.split() == ["True", "True"]
    assert run(code, tmp_path, AL_HTTPS="1").stdout.split() == ["True", "True"]
    assert run(code, tmp_path, AL_ALLOWED_HOSTS="tunnel", AL_LOGIN="0").stdout.split() == ["False", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AL_ALLOWED_HOSTS", "https://labels.example.org"),
        ("AL_TRUSTED_ORIGINS", "labels.example.org"),
        ("AL_ACCEL_REDIRECT", "cached"),
    ],
)
def test_addresses_and_names_are_not_mixed_up(tmp_path: Path, name: str, value: str) -> None:
    refused = run("from django.conf import settings; settings.DEBUG", tmp_path, **{name: value})
    assert f"{name} holds '{value}'; expected" in refused.stderr


@pytest.mark.slow
def test_the_secret_key_is_made_once_and_kept(tmp_path: Path) -> None:
    code = "from django.conf import settings; print(settings.SECRET_KEY)"
    first = run(code, tmp_path).stdout.strip()
    assert len(first) >= 50
    assert run(code, tmp_path).stdout.strip() == first
    if os.name != "nt":
        assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    assert run(code, tmp_path, AL_SECRET_KEY="given").stdout.strip() == "given"


def test_serve_refuses_to_listen_beyond_this_machine_by_option_alone() -> None:
    with pytest.raises(CommandError, match="set AL_HOST="):
        call_command("serve", host="0.0.0.0", port=0)


def test_serve_tells_of_a_busy_port() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CommandError, match="Cannot listen on"):
            call_command("serve", port=taken.getsockname()[1])


def test_checks(settings: Any, tmp_path: Path) -> None:
    settings.STORE_DIR = tmp_path / "new" / "store"
    assert checks.store_is_writable(None) == []
    (tmp_path / "file").touch()
    settings.STORE_DIR = tmp_path / "file" / "store"
    [error] = checks.store_is_writable(None)
    assert "is not writable" in error.msg
    assert checks.sign_in_is_safe(None) == []
    settings.LOCAL_ONLY, settings.HOST = False, "0.0.0.0"
    [warning] = checks.sign_in_is_safe(None)
    assert "without HTTPS" in warning.msg
    settings.BEHIND_HTTPS = True
    assert checks.sign_in_is_safe(None) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["up", "ingest", "check"])
def test_a_wrong_setting_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    done = run_python("manage.py", command, store=tmp_path, code=1, AL_PORT="eight")
    assert done.stderr == "Wrong setting: AL_PORT is 'eight'; expected a whole number from 0 to 65535.\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows ends no program for this")
def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    environment = {**os.environ, "AL_STORE_DIR": str(tmp_path)}
    command = [sys.executable, ROOT / "manage.py", "help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    ("hosts", "name"),
    [([], "localhost"), (["*"], "localhost"), ([".a.org", "b"], "a.org"), (["b"], "b"), ([""], "localhost")],
)
def test_a_host_that_the_server_answers_to(hosts: list[str], name: str) -> None:
    assert health.allowed_host(hosts) == name
