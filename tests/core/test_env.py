"""The variables: documented, typed, refused by name when malformed."""

import ast
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hoshina.core import env
from tests.parts import ROOT
from tests.processes import run_python

APPS = ("hoshina", "labeling", "modeling", "sampling")


def variables_read() -> set[str]:
    """Return names that the code hands to a function of hoshina.core.env or looks up in os.environ."""
    found = set()
    for file in (file for app in APPS for file in (ROOT / app).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("env"), attr=reader), args=[ast.Constant(name), *_]):
                    found |= {name, f"{name}_FILE"} if reader == "secret" else {name}
                case ast.Call(func=ast.Attribute(attr="get" | "getenv"), args=[ast.Constant(str(name)), *_]):
                    found |= {name} if name.startswith("AL_") else set()
    return found


def variables_documented() -> set[str]:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return set(re.findall(r"^#?(AL_[A-Z_]+)=", text, flags=re.MULTILINE))


def test_every_variable_is_documented_and_read() -> None:
    assert variables_read() == variables_documented()
    assert {"AL_STORE_DIR", "AL_SECRET_KEY_FILE", "AL_BROKER_URL"} <= variables_documented()


def test_the_other_variables_are_those_of_docker_compose() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    others = set(re.findall(r"^#?([A-Z_]+)=", text, flags=re.MULTILINE)) - variables_documented()
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{([A-Z_]+)", compose))
    assert others == {name for name in named if not name.startswith("AL_")}
    assert named - others <= variables_documented()


def test_booleans(monkeypatch: pytest.MonkeyPatch) -> None:
    for raw, value in {"1": True, "YES": True, "on": True, "0": False, "False": False, " no ": False}.items():
        monkeypatch.setenv("AL_X", raw)
        assert env.boolean("AL_X", default=not value) is value
    monkeypatch.setenv("AL_X", "")
    assert env.boolean("AL_X", default=True) is True
    monkeypatch.setenv("AL_X", "maybe")
    with pytest.raises(ImproperlyConfigured, match="AL_X is 'maybe'"):
        env.boolean("AL_X", default=True)


@pytest.mark.parametrize("raw", ["many", "1.5", "-1", "65536"])
def test_integers(monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
    monkeypatch.setenv("AL_X", "8000")
    assert env.integer("AL_X", 1, minimum=0, maximum=65535) == 8000
    monkeypatch.delenv("AL_X")
    assert env.integer("AL_X", 1, minimum=0, maximum=65535) == 1
    monkeypatch.setenv("AL_X", raw)
    with pytest.raises(ImproperlyConfigured, match=f"AL_X is .*{raw}.*from 0 to 65535"):
        env.integer("AL_X", 1, minimum=0, maximum=65535)


def test_choices_words_and_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AL_X", "torch")
    assert env.choice("AL_X", "auto", options=("auto", "torch")) == "torch"
    with pytest.raises(ImproperlyConfigured, match="AL_X is 'torch'; expected one of auto, hog"):
        env.choice("AL_X", "auto", options=("auto", "hog"))
    monkeypatch.setenv("AL_X", " a.org, ,b.org")
    assert env.words("AL_X") == ["a.org", "b.org"]
    monkeypatch.setenv("AL_X", str(tmp_path))
    assert env.path("AL_X", Path("other")) == env.optional_path("AL_X") == tmp_path
    monkeypatch.setenv("AL_X", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match=r"AL_X is .*, which does not exist"):
        env.optional_path("AL_X")


def test_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    monkeypatch.setenv("AL_X_FILE", str(file))
    assert env.secret("AL_X") == "from a file"
    monkeypatch.setenv("AL_X", "given")
    with pytest.raises(ImproperlyConfigured, match="AL_X or AL_X_FILE, not both"):
        env.secret("AL_X")
    monkeypatch.delenv("AL_X")
    file.write_text("\n")
    with pytest.raises(ImproperlyConfigured, match=r"AL_X_FILE names .*, which is empty"):
        env.secret("AL_X")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AL_PORT", "eighty"), ("AL_EMBEDDING_BACKEND", "magic"), ("AL_LOGIN", "perhaps"), ("AL_DEBUG", "2"),
        ("AL_HTTPS", "https"), ("AL_LOG_LEVEL", "loud"), ("AL_DATA_DIR", "/no/such/folder"),
        ("AL_WEIGHTS_DIR", "/no/such/folder"), ("AL_SECRET_KEY_FILE", "/no/such/file"),
        ("AL_BROKER_URL", "amqp://localhost"), ("AL_DATABASE_URL", "mysql://localhost/x"),
        ("AL_DATABASE_URL", "nonsense"), ("AL_HOST", "0.0.0.0"),
    ],
)  # fmt: skip
def test_a_malformed_value_is_refused_at_start(tmp_path: Path, name: str, value: str) -> None:
    done = run_python("-c", "import hoshina.settings", store=tmp_path, code=1, **{name: value})
    last = done.stderr.strip().splitlines()[-1]
    assert "ImproperlyConfigured" in last
    assert name in last
