"""Rules that every template keeps."""

import re
from pathlib import Path

from django.conf import settings

FOLDER = Path(settings.BASE_DIR, "templates")
TEMPLATES = sorted(FOLDER.rglob("*.html"))
# From the lowest to the highest; names without an app (home, workbench, login) are the site's entries, open to all.
APPS = ("jobs", "labeling", "modeling", "sampling")


def test_every_template_that_is_named_exists() -> None:
    present = {path.relative_to(FOLDER).as_posix() for path in TEMPLATES}
    named = {
        name
        for path in TEMPLATES
        for name in re.findall(r"{% (?:include|extends) ['\"]([^'\"]+)['\"]", path.read_text(encoding="utf-8"))
    }
    for app in ("hoshina", *APPS):
        for path in Path(settings.BASE_DIR, app).rglob("*.py"):
            named.update(re.findall(r"\"((?:\w+/)+\w+\.html)\"", path.read_text(encoding="utf-8")))
    assert len(named) > 80
    assert {name for name in named if not name.startswith("admin/")} - present == set()


def test_every_static_file_that_is_named_exists() -> None:
    named = {
        name
        for path in TEMPLATES
        for name in re.findall(r"{% static ['\"]([^'\"]+)['\"]", path.read_text(encoding="utf-8"))
    }
    scripts = sorted(Path(settings.BASE_DIR, "static", "js").rglob("*.js"))
    imported = {
        (script.parent / name).resolve()
        for script in scripts
        for name in re.findall(r"(?:from|import)\s*\(?\s*\"(\.[^\"]+)\"", script.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert len(imported) > 20
    assert {name for name in named if not Path(settings.BASE_DIR, "static", name).is_file()} == set()
    assert {script for script in imported if not script.is_file()} == set()


def test_templates_name_no_url_and_no_template_of_an_app_above() -> None:
    """Pages may link up only by registered links (``hoshina.core.links``), as imports point one way."""
    n_names, wrong = 0, []
    for path in TEMPLATES:
        folder = path.relative_to(FOLDER).parts[0]
        if folder not in APPS:
            continue
        source = path.read_text(encoding="utf-8")
        urls = re.findall(r"{% url ['\"](\w+):", source)
        templates = re.findall(r"{% (?:include|extends) ['\"](\w+)/", source)
        n_names += len(urls) + len(templates)
        wrong += [
            f"{path.relative_to(FOLDER)} names {app}"
            for app in urls + templates
            if app == "hoshina" or (app in APPS and APPS.index(app) > APPS.index(folder))
        ]
    assert n_names > 100
    assert wrong == []


def test_requests_of_elements_inside_are_not_aborted() -> None:
    """htmx passes hx-sync on to every element inside, whose requests a newer one of the outer element would abort."""
    tags = [
        (path.name, tag)
        for path in TEMPLATES
        for tag in re.findall(r"<\w+[^<]*hx-sync=[^>]*>", path.read_text(encoding="utf-8"))
    ]
    assert len(tags) >= 5
    assert [name for name, tag in tags if 'hx-disinherit="hx-sync"' not in tag] == []
