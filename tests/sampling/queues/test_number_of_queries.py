"""A page of the grid takes a fixed number of queries, whatever its size."""

import html
import re

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

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
