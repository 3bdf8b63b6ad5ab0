"""Test that the first command on a new store works, and that failures print one line or one JSON object."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.factories import MakeFolder
from tests.parts import postgres_server, require
from tests.processes import run_python

pytestmark = pytest.mark.slow


def manage(store: Path | str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_python("manage.py", *arguments, store=Path(store), code=None, **variables)


def failure(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """Return the single line of a failure."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr.strip()


def failure_json(done: subprocess.CompletedProcess[str], code: int = 1) -> dict[str, str]:
    """Return the object of a failure with --json, and check that nothing else is printed."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert set(result) == {"error", "hint"}
    return dict(result)


def test_ingest_makes_the_tables_of_a_new_store(tmp_path: Path, picture_folder: MakeFolder) -> None:
    done = manage(tmp_path / "store", "ingest", "--data-dir", str(picture_folder(3)), "--json")
    assert (done.returncode, json.loads(done.stdout)["items"], done.stderr) == (0, 3, "")


def test_the_encoders_are_listed_on_a_new_store(tmp_path: Path) -> None:
    done = manage(tmp_path / "store", "embed", "--list", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sets"] == []


COMMANDS = {
    "embed": (), "retrain": (), "quick_train": (), "project_map": (), "queue": ("auto",), "similar": ("a.png",),
    "accuracy": (), "import_labels": ("labels.csv",), "import_fields": ("fields.csv",), "export": (),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_new_store_has_no_dataset_and_every_command_says_what_to_do(tmp_path: Path, command: str) -> None:
    for name in ("labels.csv", "fields.csv"):
        (tmp_path / name).write_text("path,label\na.png,cat\n")
    arguments = [str(tmp_path / argument) if argument.endswith(".csv") else argument for argument in COMMANDS[command]]
    done = manage(tmp_path / "store", command, *arguments, "--json")
    assert failure_json(done) == {
        "error": "There is no dataset yet.",
        "hint": "Create one with `hoshina ingest --data-dir FOLDER`.",
    }


def test_a_store_that_cannot_be_made_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = tmp_path / "file" / "store"
    expected = f"Wrong setting: AL_STORE_DIR needs the folder {store}, which cannot be created (Not a directory)."
    for command in (("embed", "--list"), ("up",), ("ingest", "--data-dir", str(tmp_path))):
        assert failure(manage(store, *command)).startswith(expected)
    assert failure_json(manage(store, "accuracy", "--json"))["error"].startswith(expected)


def test_a_database_that_cannot_be_opened_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = manage(tmp_path / "store", "accuracy", AL_DB_PATH=str(tmp_path / "folder"))
    assert failure(done).startswith(
        f"The database {tmp_path / 'folder'} does not answer: unable to open database file."
    )
    text = tmp_path / "text.db"
    text.write_text("this is no database " * 100)
    assert "file is not a database" in failure(manage(tmp_path / "store", "accuracy", AL_DB_PATH=str(text)))


def test_wrong_usage_ends_with_2(tmp_path: Path, picture_folder: MakeFolder) -> None:
    store = tmp_path / "store"
    manage(store, "ingest", "--data-dir", str(picture_folder(3)))
    assert "invalid choice: 'nonsense'" in failure_json(manage(store, "queue", "nonsense", "--json"), 2)["error"]
    assert failure(manage(store, "queue", "random", "--param", "sed=1"), 2) == (
        "Random has no parameter 'sed'. It takes none."
    )
    done = failure_json(manage(store, "queue", "band", "--param", "lo=0.3", "--json"), 2)
    assert done == {"error": "Band has no parameter 'lo'.", "hint": "It takes low, high, of."}
    assert failure(manage(store, "queue", "band", "--param", "low"), 2) == "--param takes NAME=VALUE, not 'low'."


@pytest.mark.postgres
def test_a_server_that_has_not_been_migrated_says_so(tmp_path: Path) -> None:
    require("postgres")
    with postgres_server() as url:
        done = manage(tmp_path, "ingest", "--data-dir", str(tmp_path), "--json", AL_DATABASE_URL=url)
        assert failure_json(done) == {
            "error": "The tables of the database are missing or out of date.",
            "hint": "Run hoshina migrate.",
        }
        assert manage(tmp_path, "migrate", "-v0", AL_DATABASE_URL=url).returncode == 0
        assert failure(manage(tmp_path, "accuracy", AL_DATABASE_URL=url)).startswith("There is no dataset yet.")
    assert "does not answer" in failure(manage(tmp_path, "accuracy", AL_DATABASE_URL=url))
