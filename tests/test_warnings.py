"""Which warnings fail a test: see `filterwarnings` in pyproject.toml."""

import subprocess
import sys
import warnings

import pytest
from django.utils.deprecation import RemovedInDjango60Warning

from tests.parts import ROOT


def _warn(category: type[Warning], module: str) -> None:
    warnings.warn_explicit("beware", category, "file.py", 1, module=module)


@pytest.mark.parametrize("module", ["hoshina", "labeling.images.fits", "modeling.store", "sampling", "tests.parts"])
def test_warnings_that_point_at_our_modules_are_errors(module: str) -> None:
    for category in (UserWarning, RuntimeWarning, RemovedInDjango60Warning, ResourceWarning):
        with pytest.raises(category):
            _warn(category, module)


def test_warnings_about_naive_times_and_the_like_are_errors() -> None:
    with pytest.raises(RuntimeWarning):
        _warn(RuntimeWarning, "django.db.models.fields")


def test_warnings_of_other_libraries_and_deprecations_are_only_listed() -> None:
    with warnings.catch_warnings(record=True) as listed:
        _warn(UserWarning, "numpy.linalg")
        _warn(UserWarning, "labelingtools")
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            _warn(category, "labeling.images.fits")
    assert len(listed) == 5


@pytest.mark.slow
def test_a_file_that_is_left_open_fails_the_test(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("leak")
    (folder / "test_leak.py").write_text("def test_it():\n    open(__file__)\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, str(folder / "test_leak.py")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "unclosed file" in done.stdout
