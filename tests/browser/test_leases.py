"""Leases in a real browser: two windows show different images, and one that is left gives its images back."""

from playwright.sync_api import BrowserContext, Page, expect

from labeling.models import Annotation, Lease
from tests.browser.bench import Bench, tell_job_finished
from tests.browser.factories import add_falling_model
from tests.parts import wait_until


def test_two_windows_of_one_person_show_different_images(bench: Bench, context: BrowserContext) -> None:
    bench.open("queue=random&seed=1")
    other = Bench(context.new_page(), bench.address, bench.dataset).open("queue=random&seed=1")
    assert bench.ids()
    assert other.ids()
    assert not set(bench.ids()) & set(other.ids())


def test_a_page_that_is_left_gives_its_images_back(bench: Bench, page: Page) -> None:
    bench.open("queue=random")
    shown = set(bench.ids())
    assert set(Lease.objects.values_list("item_id", flat=True)) == shown
    page.goto(f"{bench.address}/d/{bench.dataset.slug}/accuracy/")
    wait_until(lambda: not Lease.objects.exists(), why="the leases to end")


def test_the_images_of_ones_other_windows_can_be_taken_back(bench: Bench, context: BrowserContext) -> None:
    add_falling_model(bench.dataset)
    bench.open("queue=random")
    n = bench.n_tiles()
    other = Bench(context.new_page(), bench.address, bench.dataset).open("queue=band&low=0.4&high=0.41")
    empty = other.page.locator("#grid.is-empty")
    expect(empty).to_contain_text(f"You, in another window: {n} images, until")
    empty.get_by_role("button", name="Take back my images").click()
    expect(empty.locator(".holdings")).to_have_count(0)
    assert not Lease.objects.exists()


def test_a_page_that_is_fetched_again_is_leased_once(bench: Bench, page: Page) -> None:
    bench.open("queue=random")
    n = bench.n_tiles()
    shown, ahead = set(bench.ids()), "/grid/?round="
    with page.expect_response(lambda response: ahead in response.url):
        bench.press(*["1"] * (n // 2 + 1))
    bench.settle()
    dropped = set(Lease.objects.values_list("item_id", flat=True)) - shown
    with page.expect_response(lambda response: ahead in response.url):
        tell_job_finished(page, "retrain")
    wait_until(lambda: Lease.objects.exclude(item__in=shown).count() == len(dropped), why="one page to be leased")
    page.keyboard.press("Escape")
    bench.press(*["1"] * (n - n // 2 - 1))
    expect(page.locator(f"#item-{min(shown)}")).to_have_count(0)
    assert set(bench.ids()) == dropped, "the same seed chooses the images that were given back"


def test_labels_carry_the_round_and_the_rank(bench: Bench, page: Page) -> None:
    bench.open("queue=audit")
    bench.press("1")
    bench.settle()
    [written] = Annotation.objects.all()
    assert (written.queue, written.rank, written.is_random_draw) == ("audit", 0, True)
    sent = bench.sent[-1].post_data_json
    assert set(sent["actions"][0]["items"][0]["shown"]) == {"round_id", "rank", "rendering"}
