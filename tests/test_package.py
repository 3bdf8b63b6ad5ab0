"""The package: built from this checkout, installed into an empty environment, and run from another folder."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from importlib import metadata
from pathlib import Path

import pytest

from hoshina import health
from hoshina.core.processes import module_command, module_environment
from tests.factories import new_folder
from tests.parts import ROOT, free_port, missing, wait_until

PACKAGES = ("hoshina", "labeling", "modeling", "sampling")


@dataclass
class Package:
    """A wheel, and the folder of the programs of an environment that holds it and what it depends on."""

    wheel: Path
    programs: Path

    def command(self, *arguments: str) -> list[str]:
        return [str(self.programs / "hoshina"), *arguments]


def _uv() -> str:
    program = shutil.which("uv")
    if program is None:
        missing("no uv on this machine")
    assert program
    return program


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    _run(_uv(), "build", "--quiet", "--out-dir", folder)
    assert len(list(folder.glob("hoshina-*.tar.gz"))) == 1
    [file] = folder.glob("hoshina-*.whl")
    return file


@pytest.fixture(scope="module")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Provide the wheel in an empty environment, with the versions that are installed here: those need no download."""
    folder = tmp_path_factory.mktemp("empty")
    versions = {found.name: found.version for found in metadata.distributions() if found.name != "hoshina"}
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
    _run(_uv(), "venv", "--quiet", "--python", sys.executable, folder / "environment")
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    _run(_uv(), "pip", "install", "--quiet", "--python", programs / "python", "--constraints", constraints, wheel)
    return Package(wheel, programs)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Provide the variables of a new user: a home folder of their own, none of the tests' settings."""
    ours = ("AL_", "XDG_", "PYTHON", "VIRTUAL_ENV", "DJANGO_", "HOSHINA_", "UV_")
    home = new_folder(tmp_path / "home")
    theirs = {name: str(home) for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")}
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | theirs


def test_a_wheel_holds_all_that_the_pages_need(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [file] = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = archive.read(file).decode()
    beside = [file for folder in ("templates", "static") for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert len(beside) > 100
    assert {f"hoshina/{file.relative_to(ROOT).as_posix()}" for file in beside} <= names
    code = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert {file.relative_to(ROOT).as_posix() for file in code} <= names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "hoshina/LICENSE" in names
    information = Path(file).parent.as_posix()
    assert {name.split("/")[0] for name in names} == {*PACKAGES, information}
    with (ROOT / "pyproject.toml").open("rb") as stream:
        project = tomllib.load(stream)["project"]
    assert f"\nVersion: {project['version']}\n" in about
    assert "\nLicense-Expression: MIT\n" in about
    assert metadata.version("hoshina") == project["version"], "run uv sync: another version is installed here"


def test_the_command_of_an_empty_environment(package: Package, environment: dict[str, str], tmp_path: Path) -> None:
    def output(*arguments: str) -> str:
        done = subprocess.run(
            package.command(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert output("--version") == f"{metadata.version('hoshina')}\n"
    listed = set(output("help", "--commands").split())
    files = [file for package in PACKAGES for file in (ROOT / package).glob("management/commands/*.py")]
    assert {file.stem for file in files} - {"__init__"} <= listed
    assert output("up", "--help").startswith("usage: hoshina up ")


@pytest.fixture
def demo(package: Package, environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Provide the port and the output of `hoshina up --demo`, which is stopped at the end."""
    port, log = free_port(), tmp_path / "log"
    # The user's own files, which must not be taken for modules.
    folder = tmp_path / "work"
    (folder / "labeling").mkdir(parents=True)
    for name in ("random.py", "django.py", "labeling/__init__.py"):
        (folder / name).write_text("raise SystemExit('a file of the user was imported')\n", encoding="utf-8")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            package.command("up", "--demo", "--no-browser", "--port", str(port)),
            cwd=folder, env=environment, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or "HOSHINA is at" in log.read_text("utf-8"), why="the page")
        yield port, log
        process.terminate()
        assert process.wait(timeout=60) == 0, log.read_text("utf-8")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_the_demo_of_an_empty_environment(demo: tuple[int, Path], tmp_path: Path) -> None:
    port, log = demo
    cookies = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def is_well() -> bool:
        try:
            return health.ask("127.0.0.1", port)[1].get("workers") == {"interactive": True, "heavy": True}
        except (OSError, HTTPException):
            return False

    def fetch(path: str) -> tuple[str, bytes]:
        with browser.open(f"http://127.0.0.1:{port}{path}", timeout=120) as answer:
            return answer.headers["Content-Type"], answer.read()

    def imported() -> bool:
        return "digits: 1,797 items" in log.read_text("utf-8")

    wait_until(imported, seconds=300, why=f"the digits; up said: {log.read_text('utf-8')}")
    wait_until(is_well, seconds=300, why="the workers")
    said = log.read_text("utf-8")
    found = re.search(r"^Data is stored in (.+)$", said, re.MULTILINE)
    assert found, said
    assert Path(found[1]).is_relative_to(tmp_path / "home")
    assert (Path(found[1]) / "app.db").exists()

    link = re.search(r"Sign in with this link, which works once: http://127\.0\.0\.1:\d+(/\S+)", said)
    assert link, said
    assert "sign_in_link" in fetch("/")[1].decode(), "nobody else on this machine sees the images"
    kind, page = fetch(link[1])
    assert kind.startswith("text/html")
    assert "<title>digits · HOSHINA</title>" in page.decode()
    [sheet] = set(re.findall(r'href="(/static/css/base\.css[^"]*)"', page.decode()))
    assert fetch(sheet)[1] == (ROOT / "static" / "css" / "base.css").read_bytes()
    assert fetch("/static/django_htmx/htmx-2.min.js")[0].startswith("text/javascript")
    kind, thumbnail = fetch("/api/thumb/1")
    assert kind in {"image/webp", "image/jpeg", "image/png"}, "a decoder was started, and opened a file"
    assert thumbnail
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch("/d/none/")
    assert caught.value.code == 404
    caught.value.close()


@pytest.mark.slow
def test_processes_of_a_checkout_import_nothing_from_the_working_directory(tmp_path: Path) -> None:
    for name in ("random.py", "hoshina.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user was imported')\n", encoding="utf-8")
    done = subprocess.run(
        module_command("hoshina", "--version"),
        cwd=tmp_path, env=module_environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{metadata.version('hoshina')}\n", "")
