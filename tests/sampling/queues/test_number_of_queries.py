"""A page of the grid takes a fixed number of queries, whatever its size."""

import html
import re
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from labeling.models import Dataset, Item
from sampling.models import Round
from sampling.queues.deal import _collect
from tests.factories import MakeDataset
from tests.sampling.factories import add_model, two_class

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]

_SIGNED_IN = ("django_session", "auth_user")


@pytest.mark.parametrize("n", [10, 60])
def test_the_next_page_of_all_takes_six_queries_besides_session_and_account(
    make_dataset: MakeDataset, client: Client, n: int
) -> None:
    dataset = make_dataset(200)
    add_model(dataset, two_class(np.linspace(0.5, 1, 200).tolist()))
    first = client.get(f"/d/pictures/grid/?n={n}&queue=all").content.decode()
    following = html.unescape(re.findall(r'data-next="([^"]+)"', first)[0])
    with CaptureQueriesContext(connection) as caught:
        response = client.get(following)
    assert len(response.context["page"].tiles) == n
    queries = [query["sql"] for query in caught if not any(table in query["sql"] for table in _SIGNED_IN)]
    assert len(queries) == 6, queries


def test_images_that_are_gone_are_passed_in_queries_of_limited_size(make_dataset: MakeDataset) -> None:
    make_dataset(20)
    rows = np.arange(100_000, dtype=np.int64)
    rows[5], rows[-1] = rows[-1], rows[5]  # one of the images is at the end, behind 99,980 rows without one
    round_ = Round(dataset=Dataset.objects.get(), rows=rows.tobytes())
    sizes: list[int] = []

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        sizes.append(len(params or ()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        places, offset = _collect(round_, 0, 20, Item.objects.filter(dataset=round_.dataset), None)
    assert (len(places), offset) == (20, 100_000)
    assert max(sizes) < 10_000, "SQLite and PostgreSQL limit the parameters of a query"
