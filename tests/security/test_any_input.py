"""Any parameter and any body: an answer below 500, from every address and method.

Addresses come from the URL configuration, so new views are covered. The names of parameters are those that a view asks
for, recorded while it runs. ``HOSHINA_FUZZ=1000`` tries that many requests for each address and method.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import URLPattern, reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.models import Dataset, Item
from tests.factories import assign
from tests.modeling.factories import add_vectors
from tests.sampling.factories import add_model, two_class
from tests.security.addresses import VALUES, addresses

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
EXAMPLES = int(os.environ.get("HOSHINA_FUZZ", "4"))
NASTY = [
    "", " ", "0", "-1", "1", "2", "²", "½", "٣", "1e999", "-1e999", "nan", "inf", "-inf", "1_000", "0x10", "9" * 30,
    "9" * 5000, "-" + "9" * 30, "1.5", "1,2", ",", "1,,2", "1,x", "\x00", "a\x00b", "\ud800", "\udfff",
    "\ufeff", "👩‍🚀",
    "ſ",     "%", "%00", "../../etc/passwd", "..%2f", "/etc/passwd", "C:\\Windows",
    "<script>alert(1)</script>", "' OR 1=1 --",
    '"; DROP TABLE labeling_item; --', "{{ 7 * 7 }}", "${7*7}", "\r\nSet-Cookie: x=1", "true", "false",
    "null", "[]",
    "{}", "on", "all", "auto", "uncertain", "similar", "band", "sweep", "groups", "region", "class", "key",
    "unlabelled",     "0001-01-01", "0001-01-01T00:00+14:00", "9999-12-31", "9999-12-31T23:59:59-14:00",
    "2024-02-30", "12:99",
    "1,1,2,2", "0,0;1,1;2,2", ";" * 50, "(" * 200, "[" * 5000, "a" * 10_000, ".*(a+)+$", "{id}_{role}.fits", "{id}",
    "{",
]  # fmt: skip
texts = st.sampled_from(NASTY) | st.text(max_size=30)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400])
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


# Parameters by whose value it depends which other ones are asked for.
DECIDING = {"queue", "state", "target", "scope"}


@contextmanager
def recorded() -> Iterator[set[str]]:
    """Collect the names of the parameters that views ask for."""
    names: set[str] = set()
    originals = {name: getattr(QueryDict, name) for name in ("__getitem__", "get", "getlist", "__contains__")}

    def spy(name: str) -> Any:
        def method(self: QueryDict, key: str, *rest: Any) -> Any:
            names.add(str(key))
            return originals[name](self, key, *rest)

        return method

    with patch.multiple(QueryDict, **{name: spy(name) for name in originals}):
        yield names


def names_asked_for(client: Client, dataset: Dataset, name: str, pattern: URLPattern, method: str) -> set[str]:
    """Return the names of the parameters that a view asks for, among them those that depend on the value of others."""
    path = path_of(name, pattern, dataset, lambda strategy: 9 if strategy is dice else uuid.UUID(int=0))
    names = {"n"}
    for value in ("1", "1", "on", "similar", "sweep", "groups", "all"):
        if value == "similar" and not names & DECIDING:
            break
        with recorded() as asked:
            getattr(client, method.lower())(path, dict.fromkeys(names, value)).close()
        names |= asked
    return names


dice = st.integers(0, 9)


def path_of(name: str, pattern: URLPattern, dataset: Dataset, draw: Any) -> str:
    """Return the address with values that exist, or sometimes others that its converters let through."""
    arguments: dict[str, Any] = {}
    for parameter, converter in pattern.pattern.converters.items():
        kind = type(converter).__name__
        is_odd = draw(dice) == 0
        if kind == "NumberConverter":
            known = {"pk": dataset.classes.first(), "item_id": dataset.items.first(), "frame_id": dataset.items.first()}
            usual = known[parameter].pk if parameter in known else int(VALUES.get(parameter, "1"))
            arguments[parameter] = draw(st.sampled_from([0, 2**31, 10**18 - 1])) if is_odd else usual
        elif "UUID" in kind:
            arguments[parameter] = draw(st.uuids())
        elif kind == "SlugConverter":
            arguments[parameter] = "none" if is_odd else dataset.slug
        else:
            odd = st.text("ab.-_%é\x00", min_size=1, max_size=20)
            arguments[parameter] = draw(odd) if is_odd else VALUES.get(parameter, "x")
    return reverse(name, kwargs=arguments)


@pytest.fixture
def dataset(make_dataset: Any, store: Any, ranked_at_once: None) -> Dataset:
    """Provide a dataset with labels, embeddings and a model, so that every view has something to do."""
    made: Dataset = make_dataset(8)
    for row, label in enumerate(made.classes.order_by("key")):
        assign(made, [row], label)
    add_vectors(made, np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    add_model(made, two_class([0.9, 0.2, 0.6, 0.5, 0.4, 0.7, 0.1, 0.99]))
    return made


@pytest.mark.attack("any parameter")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("name", "pattern"), sorted(addresses(), key=lambda pair: pair[0]))
def test_any_parameter(client: Client, dataset: Dataset, name: str, pattern: URLPattern, method: str) -> None:
    names = sorted(names_asked_for(client, dataset, name, pattern, method))

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip
    @given(data=st.data())
    def attack(data: Any) -> None:
        path = path_of(name, pattern, dataset, data.draw)
        chosen = data.draw(st.lists(st.sampled_from(names), max_size=5, unique=True))
        parameters = {key: data.draw(texts | st.lists(texts, max_size=3)) for key in chosen}
        headers = {"HX-Request": "true"} if data.draw(st.booleans()) else {}
        try:
            response = getattr(client, method.lower())(path, parameters, headers=headers)
        except UnicodeEncodeError:
            return  # the test's client cannot send lone surrogates in forms; JSON can, see below
        assert response.status_code < 500, (path, parameters)
        response.close()

    attack()


ACTIONS = [
    {"kind": "assign"}, {"uuid": "x"}, {"at": "0001-01-01T00:00:00+14:00"}, {"at": "9999-12-31T23:59:59-14:00"},
    {"at": "²"}, {"label": 2**70}, {"label": "\ud800"}, {"items": [{"id": 2**64}]}, {"items": [{"id": True}]},
    {"items": {}}, {"items": [[]]}, {"kind": "merge"}, {"overwrite": "\x00"}, {"suggestion_shown": []},
]  # fmt: skip


@pytest.mark.attack("any body")
@pytest.mark.parametrize(
    "name", ["labeling:annotate", "sampling:leases_renew", "modeling:policy", "labeling:class_add"]
)
def test_any_body(client: Client, dataset: Dataset, name: str) -> None:
    path = reverse(name, kwargs={"slug": dataset.slug})
    item, label = dataset.items.first(), dataset.classes.first()
    assert item is not None
    assert label is not None
    usual = {
        "uuid": "6f0b4a1e-3a5c-4c0e-9d3a-0a4b3f0e9a11", "kind": "assign", "label": label.pk, "overwrite": True,
        "at": "2026-11-01T12:00:00+00:00", "suggestion_shown": False,
        "items": [{"id": item.pk, "seen": 0, "seconds": 0.1, "shown": {}}],
    }  # fmt: skip

    @settings(
        max_examples=EXAMPLES * 10, deadline=None, database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip
    @given(data=st.data())
    def attack(data: Any) -> None:
        changed = dict(usual) | data.draw(st.sampled_from(ACTIONS) | st.dictionaries(st.sampled_from([*usual]), values))
        inner = dict(usual["items"][0]) | data.draw(  # type: ignore[call-overload]
            st.dictionaries(st.sampled_from(["id", "seen", "seconds", "shown", "x"]), values, max_size=2)
        )
        body = data.draw(
            st.sampled_from([{"actions": [changed]}, {"actions": [{**usual, "items": [inner]}]}, [changed], changed])
            | values
        )
        raw = data.draw(st.just(json.dumps(body).encode()) | st.binary(max_size=40))
        response = client.post(path, raw, content_type="application/json")
        assert response.status_code < 500, raw

    attack()


@pytest.mark.attack("any parameter")
@pytest.mark.parametrize("moment", ["0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "\u00b2"])
def test_times_at_the_edges_of_the_calendar(client: Client, dataset: Dataset, moment: str) -> None:
    assert client.get("/jobs/", {"before": moment}).status_code == 200
    assert client.get(f"/jobs/strip/{dataset.pk}/", {"since": moment}).status_code == 200


@pytest.mark.attack("any body")
def test_ten_thousand_targets(client: Client, dataset: Dataset) -> None:
    items = [{"id": number} for number in range(10_000)]
    action = {"uuid": "6f0b4a1e-3a5c-4c0e-9d3a-0a4b3f0e9a11", "kind": "unsure", "at": "2026-11-01", "items": items}
    response = client.post(
        f"/d/{dataset.slug}/annotate/", json.dumps({"actions": [action]}), content_type="application/json"
    )
    assert response.status_code == 400
    assert "at most" in response.json()["error"]
    assert not Item.objects.exclude(state=0).filter(row__gt=1).exists()


@pytest.mark.attack("any parameter")
@pytest.mark.parametrize(
    "path", ["/api/file/{}", "/api/thumb/{}", "/d/pictures/items/{}/", "/media/items/{}/rendered/"]
)
def test_numbers_that_no_database_holds_are_not_found(client: Client, dataset: Dataset, path: str) -> None:
    for number in (2**63, 10**30, "9" * 5000):
        assert client.get(path.format(number)).status_code == 404
