"""The wheel of the Python client: what it contains, and that it needs nothing else of this repository."""

import shutil
import subprocess
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import hoshina_client
import pytest

from tests.parts import ROOT, missing

pytestmark = pytest.mark.slow
FOLDER = ROOT / "clients" / "python"


def test_the_wheel(tmp_path: Path) -> None:
    if shutil.which("uv") is None:
        missing("no uv on this machine")
    command = ["uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path, FOLDER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [about] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    modules = {f"hoshina_client/{file.name}" for file in (FOLDER / "hoshina_client").glob("*.py")}
    assert modules | {"hoshina_client/py.typed"} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"hoshina_client"}
    needed = [
        line.split(" ")[1] for line in about.splitlines() if line.startswith("Requires-Dist:") and ";" not in line
    ]
    assert sorted(name.partition("<")[0].partition(">")[0] for name in needed) == ["httpx", "numpy"]
    assert "License-Expression: MIT" in about


def test_one_version() -> None:
    with (FOLDER / "pyproject.toml").open("rb") as stream:
        version = tomllib.load(stream)["project"]["version"]
    assert hoshina_client.__version__ == metadata.version("hoshina-client") == version


def test_the_license_is_that_of_the_project() -> None:
    assert (FOLDER / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
