"""The page Images shows the options that apply to the dataset's files; the others are folded away, not lost."""

import re

import pytest
from django.test import Client

from labeling.display.applicable import not_applicable
from labeling.display.settings import rewrite
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame
from tests.factories import MakeDataset

pytestmark = pytest.mark.django_db
PAGE = "/d/pictures/images/"
DEEP, PLANES, FITS = {"stretch", "low", "high"}, {"plane", "number"}, {"hdu", "first_row"}


def folded_names(client: Client) -> tuple[set[str], bool]:
    """Return the names of the fields that are folded away, and whether they are open."""
    html = client.get(PAGE).content.decode()
    found = re.search(r'<details class="images-more"( open)?>(.*?)</details>', html, re.DOTALL)
    return (set(re.findall(r' name="(\w+)"', found[2])), bool(found[1])) if found else (set(), False)


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ({"PNG", "JPEG"}, DEEP | PLANES | FITS),
        ({"PNG", "GIF"}, DEEP | FITS),
        ({"JPEG", "TIFF"}, FITS),
        ({"JPEG", "FITS"}, set()),
        ({"JPEG 2000"}, PLANES | FITS),
    ],
)
def test_formats_decide(make_dataset: MakeDataset, client: Client, formats: set[str], expected: set[str]) -> None:
    dataset = make_dataset(4)
    make_dataset(2, name="other")
    for row, name in enumerate(sorted(formats) * 2):
        Frame.objects.filter(dataset=dataset, item__row=row).update(format=name)
    Frame.objects.filter(dataset=dataset, item__row__gte=2 * len(formats)).update(format=min(formats))
    Frame.objects.filter(dataset__slug="other").update(format="FITS")
    assert not_applicable(dataset) == expected
    assert folded_names(client) == (expected, False)


def test_an_empty_dataset_folds_nothing(make_dataset: MakeDataset) -> None:
    assert not_applicable(make_dataset(0)) == frozenset()


def test_an_option_that_is_set_stays_in_sight_and_is_sent_again(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    Frame.objects.update(format="PNG")
    assert folded_names(client)[1] is False
    rewrite(dataset, Rendering(stretch="asinh"))
    assert folded_names(client)[1] is True, "16-bit PNG files"
    refused = client.post(PAGE, {"hdu": "first", "background": "#808080", "plane": "first", "stretch": "asinh"})
    assert refused.status_code == 422
    assert 'class="images-more" open' in refused.content.decode()
    assert Dataset.objects.get().shown_as == Rendering(stretch="asinh")
