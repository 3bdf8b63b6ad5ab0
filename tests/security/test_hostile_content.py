"""Names, texts and files that mean harm: shown as they are, never run, and never taken for a path or a command."""

import csv
import html
import io
import json
import logging
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.core.logs import JsonFormatter, LineFormatter
from hoshina.core.storage import map_array
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.ingest.grouping_template import GroupingProblem, Template
from labeling.models import Dataset, Field, Frame, Item, LabelClass, Problem
from tests.factories import assign
from tests.labeling.factories import content_of, full_url, ingest_folder, thumbnail_url
from tests.parts import ROOT
from tests.security.addresses import paths

pytestmark = pytest.mark.django_db

# -- Names on pages -----------------------------------------------------------------------------------------
MARKUP = {
    "script": "<script>alert(1)</script>",
    "picture": "<img src=x onerror=alert(1)>",
    "svg": "<svg/onload=alert(1)>",
    "attribute": '" onmouseover="alert(1)',
    "single": "' autofocus onfocus='alert(1)",
    "link": "javascript:alert(1)//",
    "end": "</title></textarea></script><script>alert(1)</script>",
    "comment": "--><script>alert(1)</script><!--",
    "template": "{{ 7*191 }}{% debug %}",
    "entity": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "style": "</style><style>*{background:url(//evil.example)}",
    "null": "<scr\u200bipt>alert(1)</scr\u200bipt>",
}


@pytest.fixture
def hostile(make_dataset: Any, store: Any, ranked_at_once: None, request: pytest.FixtureRequest) -> Dataset:
    """Provide a dataset in which everything that has a name has a hostile one."""
    evil = request.param
    dataset: Dataset = make_dataset(4)
    Dataset.objects.filter(pk=dataset.pk).update(name=f"{evil}d"[:100])
    for number, label in enumerate(dataset.classes.all()):
        LabelClass.objects.filter(pk=label.pk).update(name=f"{evil}{number}"[:60])
    for item in dataset.items.all():
        path = f"{evil}{item.row}.png"
        Item.objects.filter(pk=item.pk).update(path=path)
        Frame.objects.filter(item=item).update(path=path)
    assign(dataset, [0, 1], LabelClass.objects.order_by("key")[0])
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["path", f"{evil}f"[:60]])
    writer.writerows([[item.path, evil] for item in Item.objects.order_by("row")])
    import_fields(Dataset.objects.get(), io.BytesIO(table.getvalue().encode()), Wish())
    Problem.objects.create(dataset=dataset, path=f"{evil}.fits", reason=evil)
    User.objects.update(username=f"{evil}u"[:150])
    return Dataset.objects.get()


def unescaped(page: str, evil: str) -> bool:
    """Return whether a text appears on a page as it was written, although HTML has to write it differently."""
    return evil in page and html.escape(evil) != evil


@pytest.mark.attack("script in names (XSS)")
@pytest.mark.parametrize("hostile", MARKUP.values(), ids=MARKUP, indirect=True)
def test_no_page_takes_a_name_for_markup(hostile: Dataset, client: Client, request: pytest.FixtureRequest) -> None:
    evil = request.node.callspec.params["hostile"]
    seen = 0
    for name, path in paths(hostile):
        response = client.get(path, {"queue": "all", "state": "any"})
        kind = response.headers.get("Content-Type", "")
        page = "" if response.streaming else response.content.decode()
        response.close()
        if kind.startswith("text/html"):
            seen += html.escape(evil) in page
            assert not unescaped(page, evil), name
            assert "1337" not in page, name
            assert not re.search(r"(?:href|src|action)=[\"']?\s*javascript:", page, re.IGNORECASE), name
    assert seen >= 5, "the names are on the pages"


@pytest.mark.attack("names in headers of answers")
@pytest.mark.parametrize(
    "name",
    ['a"; filename="b.html', "a\r\nSet-Cookie: x=1", "a\nX: y", "é😀", "a;b", "\\", "a\x00b", "../../etc/passwd"],
)
def test_a_name_adds_no_header(client: Client, make_dataset: Any, store: Path, tmp_path: Path, name: str) -> None:
    """Downloads and pictures are named after datasets and files."""
    folder = tmp_path / "in"
    folder.mkdir()
    file = f"a{name}.png".replace("/", "_").replace("\x00", "_")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(folder / file)
    dataset = ingest_folder(folder) or Dataset.objects.get()
    Dataset.objects.update(name=name.replace("\x00", "")[:100])
    dataset = Dataset.objects.get()
    for path in (full_url(Frame.objects.get()), f"/d/{dataset.slug}/export.zip", f"/d/{dataset.slug}/"):
        response = client.get(path)
        response.close()
        assert response.status_code == 200, path
        lines = [f"{key}: {value}" for key, value in response.headers.items()]
        assert not [line for line in lines if "\r" in line or "\n" in line]
        assert "x=1" not in str(response.cookies)
        disposition = response.headers.get("Content-Disposition", "")
        assert "b.html" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", disposition), disposition


# -- Files that are not what they are called --------------------------------------------------------------------
ACTIVE = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "xml": b'<?xml version="1.0"?><x:script xmlns:x="a"/>',
    "javascript": b"alert(1)",
    "pdf": b"%PDF-1.7 /JS (app.alert(1))",
    "swf": b"FWS\x06abc",
    "mhtml": b"From: x\nContent-Type: text/html",
    "gif and html": b"GIF89a/*<script>*/=1;alert(1)//",
    "bom": b"\xff\xfe<\x00s\x00c\x00r\x00i\x00p\x00t\x00>\x00",
    "php": b"<?php system($_GET[0]); ?>",
    "xxe": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>',
}


@pytest.mark.attack("active content called a picture")
@pytest.mark.parametrize("suffix", ["png", "svg", "gif", "jpg", "fits", "tif"])
@pytest.mark.parametrize("kind", ACTIVE)
def test_what_is_no_picture_is_never_served(
    client: Client, store: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    """Not even if it took the place of a picture after the folder was read."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(folder / "a.png")
    dataset = Dataset.objects.create(name="in", slug="in", root=str(folder), n_items=1)
    item = Item.objects.create(dataset=dataset, row=0, path=f"b.{suffix}")
    (folder / f"b.{suffix}").write_bytes(ACTIVE[kind])
    frame = Frame.objects.create(
        item=item,
        dataset=dataset,
        path=item.path,
        sha256="ab" * 32,
        size=1,
        mtime_ns=1,
        width=20,
        height=20,
        format="PNG",
    )
    for address in (thumbnail_url(frame), full_url(frame)):
        response = client.get(address)
        content = content_of(response)
        assert response["Content-Type"].startswith(("text/plain", "image/png", "image/jpeg"))
        assert response["X-Content-Type-Options"] == "nosniff"
        assert ACTIVE[kind] not in content
        assert b"root:" not in content


@pytest.mark.attack("active content called a picture")
def test_a_picture_that_is_also_a_page_keeps_its_type(client: Client, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(folder / "a.png")
    with (folder / "a.png").open("ab") as stream:
        stream.write(b"<html><script>alert(1)</script>")
    ingest_folder(folder)
    response = client.get(full_url(Frame.objects.get()))
    assert response["Content-Type"] == "image/png"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "script-src 'self'" in response["Content-Security-Policy"]
    response.close()


@pytest.mark.attack("pickled objects")
@pytest.mark.parametrize("kind", ["npy", "npz", "cut", "claims to be floats"])
def test_an_array_of_the_store_never_runs_code(tmp_path: Path, kind: str) -> None:
    """A store may come from a backup that somebody else made."""
    mark, file = tmp_path / "ran", tmp_path / "a.npy"

    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
            return exec, (f"open({str(mark)!r}, 'w').close()",)

    harm = np.array([Harm()], dtype=object)
    if kind == "npy":
        np.save(file, harm, allow_pickle=True)
    elif kind == "npz":
        np.savez(tmp_path / "a", harm=harm)
        (tmp_path / "a.npz").rename(file)
    elif kind == "cut":
        file.write_bytes(pickle.dumps(harm))
    else:
        buffer = io.BytesIO()
        np.save(buffer, harm, allow_pickle=True)
        file.write_bytes(buffer.getvalue().replace(b"'|O'", b"'<f8'"))
    with pytest.raises(Refusal):
        map_array(file, "Restore a backup.", np.float32, (3,))
    assert not mark.exists()


# -- Texts that a program might take for a part of itself --------------------------------------------------------
SQL = [
    "' OR 1=1 --",
    "1; DROP TABLE labeling_item",
    "1) UNION SELECT password FROM auth_user --",
    "%' OR '1'='1",
    "\\'; --",
    "1 OR 1=1",
    "') OR ('a'='a",
    "row; DELETE FROM labeling_item",
    "label__name",
    "annotator__password",
    "-pk",
    "?",
    "dataset__root__startswith",
    "item__annotations__annotator__password",
]
FILTERS = [
    "state",
    "label",
    "predicted",
    "confused",
    "sort",
    "order",
    "queue",
    "f.night",
    "map",
    "to",
    "of",
    "seed",
    "row",
]


@pytest.mark.attack("SQL in filters")
@pytest.mark.parametrize("text", SQL)
def test_a_filter_is_no_part_of_a_query(
    client: Client, make_dataset: Any, store: Any, ranked_at_once: None, text: str
) -> None:
    dataset, other = make_dataset(5), make_dataset(5, name="others")
    User.objects.create_user("somebody", password="a password of theirs")
    for name in FILTERS:
        for part in ("grid", "queues"):
            response = client.get(f"/d/{dataset.slug}/{part}/", {"queue": "all", "state": "any", name: text})
            assert response.status_code < 500, name
            page = response.content.decode()
            assert "md5$" not in page, name
            assert not [item for item in other.items.all() if f'data-item="{item.pk}"' in page], name
    assert Item.objects.count() == 10
    assert Field.objects.count() == 0


@pytest.mark.attack("format strings in templates of file names")
@pytest.mark.parametrize(
    "text",
    [
        "{id.__class__}_{role}.png",
        "{id!r}_{role}.png",
        "{id:{id}}_{role}.png",
        "{0}_{role}.png",
        "{id}_{role.__init__}.png",
        "%(id)s_{role}.png",
        "{id}_{role:>999999999}.png",
        "{id}{id}_{role}.png",
        "${id}_{role}.png",
        "{id}_{role[0]}.png",
    ],
)
def test_a_template_of_names_is_no_format_string(client: Client, make_dataset: Any, store: Any, text: str) -> None:
    dataset = make_dataset(3)
    page = client.get(f"/d/{dataset.slug}/grouping/trial/", {"template": text}).content.decode()
    assert "&lt;class" not in page
    assert "built-in" not in page
    try:
        template = Template.read(text)
    except GroupingProblem:
        return
    place = template.place("a_b.png")
    assert place is None or "class" not in place.group


@pytest.mark.attack("slow patterns (ReDoS)")
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{id}_{role}.png", "_" * 4000),
        ("{id}*_*{role}.png", "_" * 4000),
        ("*{id}*{role}", "a" * 4000),
        ("{id}{role}.png", "a" * 4000),
        ("*_{id}_{role}*", "_a" * 2000),
        ("{role}/{id}", "/" * 4000),
        ("{id}.{role}", "." * 4000),
    ],
)
def test_no_template_takes_for_ever(text: str, path: str) -> None:
    """Run in a process that is given a minute of CPU time, thousands of times what it needs."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from labeling.ingest.grouping_template import GroupingProblem, Template
try:
    print(Template.read({text!r}).place({path!r}) is None)
except GroupingProblem:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


FORGED = [
    "x\n2026-11-30 00:00:00 ERROR hoshina: all labels lost",
    "x\r\nERROR y",
    "\x1b[2J\x1b[31mred",
    "a\x00b",
    "x\u2028y",
    "%s %d %(name)s",
    "{0.__class__}",
    "x\x85y",
]


@pytest.mark.attack("forged lines of logs")
@pytest.mark.parametrize("formatter", [LineFormatter, JsonFormatter])
@pytest.mark.parametrize("text", FORGED)
def test_a_name_forges_no_line_of_a_log(formatter: type[logging.Formatter], text: str) -> None:
    for message, arguments in (("%s cannot be read.", (text,)), ("Refused %r and %s.", (text, text))):
        record = logging.LogRecord("hoshina", logging.WARNING, __file__, 1, message, arguments, None)
        line = formatter().format(record)
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line
        assert "\x00" not in line
        assert "class" not in line.replace("__class__", "")


@pytest.mark.attack("forged lines of logs")
@pytest.mark.parametrize("text", FORGED)
def test_a_request_forges_no_line_of_a_log(client: Client, caplog: pytest.LogCaptureFixture, text: str) -> None:
    caplog.set_level(logging.INFO, "hoshina.access")
    client.get("/nowhere/" + text.replace("\x00", "%00"))
    client.post("/sign-in/", {"username": text, "password": "x"})
    client.get("/", headers={"X-Request-ID": text.encode("latin-1", "replace").decode("latin-1")})
    assert caplog.records
    for record in caplog.records:
        assert len(LineFormatter().format(record).splitlines()) <= 1 + bool(record.exc_info)


# -- Paths in addresses ---------------------------------------------------------------------------------------------
CLIMB = [
    "../",
    "..%2f",
    "%2e%2e/",
    "..\\",
    "..%5c",
    "....//",
    "..;/",
    "%252e%252e/",
    "/",
    "//",
    "C:\\",
    "%00/",
    "..%c0%af",
    "file:///",
    "~/",
]


@pytest.mark.attack("paths that climb")
@pytest.mark.parametrize("step", CLIMB)
def test_no_address_leads_out_of_its_folder(client: Client, make_dataset: Any, store: Path, step: str) -> None:
    """Whatever takes a path, a name or a slug."""
    dataset = make_dataset(2)
    (store / "secret_key").write_text("the-key-of-this-store")
    targets = [
        f"{step * depth}{name}" for depth in (1, 4, 8) for name in ("etc/passwd", "secret_key", "pyproject.toml")
    ]
    begins = ["/docs/", "/static/", f"/d/{dataset.slug}/model/1/files/", "/d/", "/media/", "/api/file/"]
    for begin in begins:
        for target in targets:
            response = client.get(begin + target)
            content = content_of(response)
            response.close()
            assert response.status_code in (301, 302, 400, 404), begin + target
            for secret in (b"root:", b"the-key-of-this-store", b"[build-system]"):
                assert secret not in content, begin + target
    names = ("file", "path", "to", "name", "frame", "template", "example")
    for target in targets:
        response = client.get(f"/d/{dataset.slug}/grid/", dict.fromkeys(names, target))
        assert b"root:" not in response.content
        assert b"the-key-of-this-store" not in response.content


# -- Archives -------------------------------------------------------------------------------------------------------
@pytest.mark.attack("archives that lead out")
@pytest.mark.parametrize("name", ["../x.csv", "/etc/x.csv", "a/../../x.csv", "C:\\x.csv", "labels.csv\x00.png"])
def test_an_archive_is_no_table(client: Client, make_dataset: Any, store: Path, tmp_path: Path, name: str) -> None:
    """Tables are uploaded; what is packed is refused and never unpacked."""
    dataset = make_dataset(2)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"path,label\n" + b"\0" * 1_000_000)
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    for path in ("import/", "fields/"):
        upload = io.BytesIO(content.getvalue())
        upload.name = "labels.csv"
        response = client.post(f"/d/{dataset.slug}/{path}", {"file": upload})
        assert 400 <= response.status_code < 500 or "error" in response.content.decode()
    new = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    assert not [file for file in new if file.suffix == ".csv"]
    assert json.dumps(sorted(dataset.classes.values_list("name", flat=True))) == '["cat", "dog"]'
