"""Write the reference pages that are made from the code: commands, settings, keys, queues, jobs, API, decisions.

    uv run python docs/generate.py

``tests/docs/test_generated_pages.py`` compares the files with what this writes.
"""

from __future__ import annotations

import argparse
import dataclasses
import html
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

BASE = Path(__file__).resolve().parent.parent
DOCS = BASE / "docs"
MARK = "<!-- Made by docs/generate.py. Change the code that it reads, then run it again. -->\n\n"
APPS = ("hoshina", "labeling", "modeling", "sampling")
# Options that Django adds to every command; the page lists them once.
COMMON = {"--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color"}
COMMON |= {"--skip-checks", "--help"}


def commands_page() -> str:
    """Return the page of all management commands, from their argument parsers."""
    from django.core.management import get_commands, load_command_class

    names = sorted(name for name, app in get_commands().items() if app in APPS)
    parts = [
        _intro(
            "Commands",
            "An installed copy has the command `hoshina`; in a checkout write `uv run manage.py` in its place. "
            "Everything that the pages do also works from the command line.",
            "Exit codes: 0 for success, 1 for a failure with a message of one line, 2 for wrong usage. With `--json` a "
            "command prints one JSON object and nothing else; [JSON output](json.md) lists the keys. The first command "
            "on a new store makes its database. On PostgreSQL run `hoshina migrate` first.",
        )
    ]
    for name in names:
        parser = load_command_class(get_commands()[name], name).create_parser("hoshina", name)
        parts.append(_command(name, parser))
    return _page(parts)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    rows = [row for action in parser._actions for row in _option(action)]
    table = "| argument | meaning |\n|---|---|\n" + "".join(rows) if rows else ""
    description = (parser.description or "").strip()
    return f"## {name}\n\n```text\n{_usage(name, parser)}\n```\n\n{_wrapped(description)}\n\n{table}\n"


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the usage line without the options of every command."""
    own = [action for action in parser._actions if not COMMON & set(action.option_strings)]
    optional = [action for action in own if action.option_strings]
    positional = [action for action in own if not action.option_strings]
    positional_names = [_metavar(action) for action in positional]
    return (
        f"hoshina {name}"
        + (" [OPTIONS]" if optional else "")
        + "".join(f" {argument}" for argument in positional_names)
    )


def _metavar(action: argparse.Action) -> str:
    word = str(action.metavar or action.dest.upper())
    if action.nargs == "?":
        return f"[{word}]"
    if action.nargs == "*":
        return f"[{word} ...]"
    return f"{word} [{word} ...]" if action.nargs == "+" else word


def _option(action: argparse.Action) -> Iterator[str]:
    if COMMON & set(action.option_strings) or action.help == argparse.SUPPRESS:
        return
    takes_value = action.option_strings and action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)
    value = f" {_value(action)}" if takes_value else ""
    names = ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{_metavar(action)}`"
    text = (action.help or "").replace("%%", "%")
    if not action.option_strings and action.choices:
        text = f"{text}: {', '.join(str(choice) for choice in action.choices if choice)}".strip(": ")
    yield f"| {_cell(names)} | {_cell(text)} |\n"


def _value(action: argparse.Action) -> str:
    if action.metavar is None and action.choices:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    return str(action.metavar or action.dest.upper())


def settings_page() -> str:
    """Return the page of all settings, from ``.env.example``."""
    lines = (BASE / ".env.example").read_text(encoding="utf-8").splitlines()
    parts = [
        _intro(
            "Settings",
            "All settings are environment variables. Each has a default that suits one person on one machine. A "
            "malformed value stops the start with a message that names the variable. `docker compose` reads a file "
            "`.env`; elsewhere run `uv run --env-file .env manage.py up FOLDER`.",
        )
    ]
    about: list[str] = []
    is_open = False
    for line in lines[lines.index("") :]:
        if title := re.fullmatch(r"# -- (.+?) -+", line):
            parts.append(f"\n## {title[1]}\n\n| variable | example | meaning |\n|---|---|---|\n")
            about, is_open = [], True
        elif variable := re.fullmatch(r"#?([A-Z_]+)=(.*)", line):
            example = f"`{variable[2]}`" if variable[2] else "–"
            parts.append(f"| `{variable[1]}` | {_cell(example)} | {_cell(' '.join(about))} |\n")
            about = []
        elif is_open and line.startswith("# "):
            about.append(line[2:])
    return _page(parts)


def keys_page() -> str:
    """Return the page of all keys, from the table of the dialog that the key ``?`` opens."""
    script = (BASE / "static/js/keys.js").read_text(encoding="utf-8")
    # The first table of the script: what each key does unless it was changed.
    defaults = dict(re.findall(r'(\w+): "([^"]+)"', script[script.index("= {") : script.index("};")]))
    dialog = (BASE / "templates/_keys.html").read_text(encoding="utf-8")
    parts = [
        _intro(
            "Keys",
            "Press `?` in the workbench to see these keys and to change them: click a key, then press the new one. "
            "Changes are kept in the browser. The dialog *Classes* sets the digit or letter of each class; where a "
            "class has the letter of a command, the command needs Shift. On keyboards without Latin letters, keys "
            "work by their position.",
        )
    ]
    for piece in re.split(r"<h3>", dialog)[1:]:
        title, rest = piece.split("</h3>", 1)
        parts.append(f"\n## {title}\n\n| action | key |\n|---|---|\n")
        for action, keys in re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", rest):
            keys = re.sub(r'<button[^>]*data-rebind="(\w+)"></button>', lambda found: _key(defaults[found[1]]), keys)
            parts.append(f"| {_key_text(action)} | {_key_text(keys)} |\n")
    return _page(parts)


def _key(name: str) -> str:
    label = {" ": "Space", "-": "−"}.get(name, name.upper() if len(name) == 1 else name)
    return f"<kbd>{label}</kbd>"


def _key_text(markup: str) -> str:
    text = re.sub(r"</?kbd>", "`", markup)
    return _cell(html.unescape(text))


def queues_page() -> str:
    """Return the page of all queues with their parameters, from the registry."""
    from sampling.queues.registry import STRATEGIES

    parts = [
        _intro(
            "Queues",
            "A queue ranks the images that you label next. Press `Q` to choose one. `hoshina queue NAME --param "
            "NAME=VALUE` ranks from the command line. [How queues choose](../explanation/queues.md) has the methods.",
        ),
        "| queue | shows | needs | parameters |\n|---|---|---|---|\n",
    ]
    for strategy in STRATEGIES.values():
        needs = "a model" if strategy.needs_model else "embeddings" if strategy.needs_vectors else "–"
        params = [
            f"`{field.name}`: {_default(field, strategy.choices.get(field.name))}"
            for field in dataclasses.fields(strategy.params)
        ]
        parts.append(
            f"| **{strategy.title}** (`{strategy.name}`) | {_cell(strategy.help)} | {needs} | "
            f"{_cell('<br>'.join(params) or '–')} |\n"
        )
    return _page(parts)


def _default(field: dataclasses.Field[object], choices: tuple[str, ...] | None) -> str:
    if choices:
        return ", ".join(f"**{choice}**" if choice == field.default else str(choice) for choice in choices)
    return f"default {field.default}" if field.default not in ("", None) else "no default"


def jobs_page() -> str:
    """Return the page of all kinds of background job, from the registry."""
    from hoshina.jobs import registry

    registry.discover()
    parts = [
        _intro(
            "Jobs",
            "Long work runs in the background. The page *Jobs* lists every job with its progress, result and error. A "
            "job whose worker died is resumed where it can be, and otherwise shown as lost with a button to start it "
            "again.",
            "`interactive` jobs take seconds, `heavy` jobs minutes or hours. Each has workers of its own, so that a "
            "heavy job never delays a retrain: `hoshina worker interactive`, `hoshina worker heavy`.",
        ),
        "| kind | title on the page | queue | resumes after a crash |\n|---|---|---|---|\n",
    ]
    for kind in sorted(registry._kinds.values(), key=lambda kind: kind.name):
        if kind.function.__module__.split(".")[0] not in APPS:
            continue  # of the tests
        parts.append(f"| `{kind.name}` | {kind.title} | {kind.queue} | {'yes' if kind.restartable else 'no'} |\n")
    return _page(parts)


def api_page() -> str:
    """Return the page of all endpoints of the REST API, from its schema."""
    from hoshina.api.docs_page import endpoints

    parts = [
        _intro(
            "REST API",
            "The addresses of version 1, which begin with `/api/v1/`. [Use HOSHINA from programs](../how-to/api.md) "
            "begins with an example. A running server has the same list with all values and an example for curl each "
            "at `/api/docs`, and the description in OpenAPI 3.1 at `/api/openapi.json`.",
            "Programs send `Authorization: Bearer TOKEN`. `GET` needs the role of a labeler and a token of either "
            "scope. Others need a token that may write, and the role of a manager, except for pulls, decisions and the "
            "job `retrain`, which labelers may use as well. Exports are for managers.",
            "Errors are problems of RFC 9457 (`application/problem+json`) with `type`, `title`, `status`, `detail` "
            "(what happened), and where they apply `hint` (what to do), `field` and `errors` (all invalid values).",
        )
    ]
    tag = ""
    for endpoint in endpoints():
        if endpoint.tag != tag:
            tag = endpoint.tag
            parts.append(f"\n## {tag}\n\n| address | what it does | parameters |\n|---|---|---|\n")
        address = f"`{endpoint.method} {endpoint.path.removeprefix('/api/v1')}`"
        names = [f"`{each.name}`" for each in endpoint.parameters if each.place != "path"]
        what = f"**{endpoint.summary}.** {endpoint.description}"
        parts.append(f"| {_cell(address)} | {_cell(what)} | {_cell(', '.join(names) or '–')} |\n")
    return _page(parts)


def decisions_page() -> str:
    """Return the list of architecture decision records."""
    parts = [
        _intro(
            "Design decisions",
            "Each page records one decision: its context, what was decided, and what follows. A decision that was "
            "changed later keeps its page.",
        )
    ]
    for file in sorted((DOCS / "adr").glob("[0-9]*.md")):
        number, title = file.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ").split(". ", 1)
        parts.append(f"* [{number}. {title}]({file.name})\n")
    return _page(parts)


def _page(parts: list[str]) -> str:
    return MARK + re.sub(r"\n{3,}", "\n\n", "".join(parts)).rstrip() + "\n"


def _intro(title: str, *paragraphs: str) -> str:
    return "\n\n".join([f"# {title}", *map(_wrapped, paragraphs)]) + "\n\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _cell(text: str) -> str:
    """Return text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def layouts_table() -> str:
    """Return the table of layouts and the libraries that load them, from the registry."""
    from labeling.exporting.layouts import layouts

    rows = []
    for name, layout in layouts().items():
        for loading in layout.loading:
            checked = f"by hand, version {loading.by_hand}" if loading.by_hand else "in the tests of every change"
            rows.append(f"| `{name}` | {loading.library} | classes, splits and counts equal | {checked} |\n")
    return "| layout | library | loads unchanged | checked |\n|---|---|---|---|\n" + "".join(rows)


def importers_table() -> str:
    """Return the table of formats that can be imported, from the registry."""
    from labeling.importing.formats.registry import importers

    by_hand = "hand, after the documentation"
    rows = [
        f"| `{name}` | {importer.title} | {_cell(importer.sentence)} | {importer.library or by_hand} |\n"
        for name, importer in importers().items()
    ]
    head = "| name | format | what is read | files of the tests are written by |\n|---|---|---|---|\n"
    return head + "".join(rows)


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/keys.md": keys_page,
    "reference/queues.md": queues_page,
    "reference/jobs.md": jobs_page,
    "reference/api.md": api_page,
    "adr/index.md": decisions_page,
}

# Tables within pages that are written by hand, between two comments.
TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "reference/formats.md": {"layouts": layouts_table, "importers": importers_table}
}


def with_table(page: str, name: str, table: str) -> str:
    """Return a page with its table replaced."""
    start, end = f"<!-- {name}: made by docs/generate.py -->\n", f"<!-- end of {name} -->"
    before, rest = page.split(start)
    return f"{before}{start}\n{table}\n{end}{rest.split(end)[1]}"


def main() -> None:
    """Write every page."""
    sys.path.insert(0, str(BASE))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
    import django

    django.setup()
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(DOCS / name)
    for name, tables in TABLES.items():
        page = (DOCS / name).read_text(encoding="utf-8")
        for table, make in tables.items():
            page = with_table(page, table, make())
        (DOCS / name).write_text(page, encoding="utf-8")
        print(DOCS / name)


if __name__ == "__main__":
    main()
