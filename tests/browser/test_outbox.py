"""Labels on their way: a server that is away, reloads, two tabs, two people, refusals."""

import json
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from labeling.decisions import save as decisions
from labeling.models import Action, Annotation, LabelClass
from labeling.views import decisions as decisions_view
from tests.browser.bench import Bench, Held
from tests.browser.conftest import Site
from tests.parts import wait_until


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """Provide the workbench, opened with all unlabeled images."""
    return bench.open()


def _cut(target: Page | BrowserContext) -> None:
    target.route("**/annotate/", lambda route: route.abort("connectionrefused"))


def _mend(bench: Bench) -> None:
    bench.page.unroute("**/annotate/")
    bench.page.get_by_role("button", name="Try now").click()


def _sign_in(bench: Bench) -> None:
    bench.page.get_by_label("Name").fill("ana")
    bench.page.get_by_label("Password").fill("a good password")
    bench.press("Enter")
    bench.ready()


def test_labels_wait_while_the_server_is_away_and_are_sent_once_each(bench: Bench) -> None:
    ids = bench.ids()
    _cut(bench.page)
    bench.press("1", "2", "Shift+ArrowRight", "0")
    expect(bench.banner).to_contain_text("4 unsent labels in this browser: the server cannot be reached.")
    assert bench.states()[:5] == ["1", "1", "2", "2", "0"]
    assert bench.n_annotations() == 0
    expect(bench.page.locator(".tile[data-pending]")).to_have_count(4)
    _mend(bench)
    bench.settle()
    expect(bench.banner).to_be_hidden()
    expect(bench.toasts).to_contain_text("The server can be reached again")
    assert [bench.outcome(pk) for pk in ids[:5]] == [(1, "cat"), (1, "dog"), (2, ""), (2, ""), (0, "")]
    assert bench.n_annotations() == 4


def test_labels_survive_a_reload(bench: Bench) -> None:
    ids = bench.ids()
    _cut(bench.page)
    bench.press("1", "2", "x")
    expect(bench.banner).to_contain_text("3 unsent labels")
    bench.page.reload()  # the page can be had, the labels still can't be sent
    bench.ready()
    assert bench.ids() == ids
    assert bench.states()[:4] == ["1", "1", "3", "0"]
    assert [bench.chip(0), bench.chip(1)] == ["1 cat", "2 dog"]
    assert bench.index() == 3
    expect(bench.banner).to_contain_text("3 unsent labels")
    bench.press("z")
    _mend(bench)
    bench.settle()
    assert [bench.outcome(pk) for pk in ids[:3]] == [(1, "cat"), (1, "dog"), (0, "")]


def test_labels_survive_a_closed_tab(bench: Bench, context: BrowserContext) -> None:
    ids = bench.ids()
    _cut(context)
    bench.press("1", "2")
    expect(bench.banner).to_contain_text("2 unsent labels")
    bench.page.close()
    context.unroute("**/annotate/")
    again = Bench(context.new_page(), bench.address, bench.dataset).open()
    again.settle()
    assert [again.outcome(pk) for pk in ids[:2]] == [(1, "cat"), (1, "dog")]
    assert again.ids()[0] == ids[2]  # what waited was sent before the page was asked for


def test_an_answer_that_got_lost_does_not_count_twice(bench: Bench) -> None:
    pk = bench.ids()[0]
    lost: list[Route] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            return route.continue_()
        lost.append(route)
        host = urlsplit(route.request.url).netloc
        # The browser resolves any name under localhost to this machine; Playwright's own client need not.
        there = route.request.url.replace(host.split(":")[0], "127.0.0.1")
        answer = route.fetch(url=there, headers={**route.request.all_headers(), "host": host})
        assert answer.ok  # the server has it
        route.abort("connectionreset")  # and the browser does not know
        return None

    bench.page.route("**/annotate/", lose_the_first)
    bench.press("1")
    bench.settle()
    assert len(bench.sent) == 2
    assert bench.outcome(pk) == (1, "cat")
    assert bench.n_annotations() == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_in_trouble_is_asked_again(bench: Bench, status: int) -> None:
    bench.page.route("**/annotate/", lambda route: route.fulfill(status=status, body="no"))
    bench.press("1")
    expect(bench.banner).to_contain_text("1 unsent label in this browser: the server has a problem.")
    bench.page.unroute("**/annotate/")
    bench.settle()  # by itself
    assert bench.n_annotations() == 1


def test_fast_keys_go_in_batches_and_in_order(bench: Bench) -> None:
    held = Held(bench.page, "**/annotate/")
    ids = bench.ids()
    bench.press("1")
    expect(bench.tiles.first).to_have_attribute("data-pending", "1")
    held.wait_for(1)
    bench.press(*"23123")
    bench.page.wait_for_timeout(200)
    assert len(bench.sent) == 1  # one at a time
    held.release_all()
    bench.settle()
    sizes = [len(json.loads(request.post_data or "")["actions"]) for request in bench.sent]
    assert sizes == [1, 5]
    assert [bench.outcome(pk)[1] for pk in ids[:6]] == ["cat", "dog", "bird", "cat", "dog", "bird"]


def test_the_network_comes_back(bench: Bench, context: BrowserContext) -> None:
    context.set_offline(True)
    bench.press("1", "2", "3")
    expect(bench.banner).to_contain_text("3 unsent labels")
    bench.press("ArrowLeft", "Enter")  # the grid goes on without the network
    bench.press("Escape")
    context.set_offline(False)  # the browser says that it is online
    bench.settle()
    expect(bench.banner).to_be_hidden()
    assert bench.n_annotations() == 3


def test_a_refused_label_is_taken_off_and_said(bench: Bench) -> None:
    bench.press("1")
    bench.settle()
    LabelClass.objects.filter(dataset=bench.dataset, name="dog").update(is_retired=True)
    bench.press("2")
    expect(bench.toasts).to_contain_text("That class no longer exists")
    expect(bench.tiles.nth(1)).to_have_attribute("data-state", "0")
    assert bench.waiting() == 0
    bench.press("z")  # the refused one is not there to be undone
    expect(bench.tiles.first).to_have_attribute("data-state", "0")
    bench.settle()
    assert bench.outcome(bench.ids()[0]) == (0, "")


def test_undo_of_a_label_that_is_refused_takes_nothing_else_back(bench: Bench) -> None:
    ids = bench.ids()
    bench.press("1")
    bench.settle()
    LabelClass.objects.filter(dataset=bench.dataset, name="dog").update(is_retired=True)
    held = Held(bench.page, "**/annotate/")
    n_before = len(bench.sent)
    bench.press("2", "z")  # undone before the server said no
    held.wait_for(1)
    held.release()
    expect(bench.toasts).to_contain_text("That class no longer exists")
    assert bench.waiting() == 0
    assert bench.states()[:2] == ["1", "0"]
    assert [bench.outcome(pk)[0] for pk in ids[:2]] == [1, 0]
    assert len(bench.sent) == n_before + 1


def test_a_page_that_cannot_be_had_comes_later(bench: Bench) -> None:
    first = bench.ids()
    bench.page.route("**/grid/**", lambda route: route.abort("connectionrefused"))
    bench.press("Control+a", "1", "1")
    expect(bench.banner).to_contain_text("Retrying until it loads")
    assert bench.ids() == first
    bench.page.unroute("**/grid/**")  # it is asked for again by itself
    expect(bench.page.locator(f"#item-{first[0]}")).to_have_count(0)
    expect(bench.banner).to_be_hidden()


def test_one_label_that_the_server_cannot_read_does_not_block_the_others(bench: Bench) -> None:
    _cut(bench.page)
    bench.press("1", "2", "3")
    expect(bench.banner).to_contain_text("3 unsent labels")
    bench.page.evaluate("""() => {
        const keys = Object.keys(localStorage).filter(key => key.startsWith('hoshina:outbox:')).sort();
        const record = JSON.parse(localStorage.getItem(keys[1]));
        record.action.kind = 'nonsense';
        localStorage.setItem(keys[1], JSON.stringify(record));
    }""")
    bench.page.reload()
    bench.ready()
    expect(bench.banner).to_contain_text("3 unsent labels")
    _mend(bench)
    bench.settle()
    assert bench.n_annotations() == 2
    expect(bench.toasts).to_contain_text("malformed")


def test_one_label_at_which_the_server_fails_does_not_block_the_others(bench: Bench, monkeypatch: Any) -> None:
    ids, apply = bench.ids(), decisions_view.apply

    def fails_at_the_second(dataset: Any, requests: Any, **options: Any) -> Any:
        if any(target.item_id == ids[1] for request in requests for target in request.targets):
            raise RuntimeError("a defect that one image alone meets")
        return apply(dataset, requests, **options)

    monkeypatch.setattr(decisions_view, "apply", fails_at_the_second)
    bench.press("1", "2", "3")
    expect(bench.banner).to_contain_text("1 unsent label in this browser: the server ")
    assert [bench.outcome(pk)[0] for pk in ids[:3]] == [1, 0, 1]
    bench.press("z")  # takes back the third, and nothing that was saved before
    wait_until(lambda: bench.outcome(ids[2])[0] == 0, why="the undo")
    assert bench.outcome(ids[0])[0] == 1
    monkeypatch.setattr(decisions_view, "apply", apply)
    bench.banner.get_by_role("button", name="Try now").click()
    bench.settle()
    assert [bench.outcome(pk)[0] for pk in ids[:3]] == [1, 1, 0]


def test_a_session_that_ended_keeps_the_labels(page: Page, site: Site, settings: Any) -> None:
    bench = Bench(page, site.address, site.dataset())
    User.objects.create_user("ana", password="a good password")
    settings.LOGIN_REQUIRED = True
    bench.page.goto(bench.url)
    _sign_in(bench)
    Session.objects.all().delete()
    bench.press("1", "2")
    expect(bench.banner).to_contain_text("2 unsent labels in this browser: you were signed out.")
    bench.page.get_by_role("link", name="Sign in to send them").click()
    _sign_in(bench)
    bench.settle()
    assert bench.n_annotations() == 2
    assert set(Annotation.objects.values_list("annotator__username", flat=True)) == {"ana"}


def test_somebody_elses_label_is_shown_and_can_be_overwritten(bench: Bench) -> None:
    pk = bench.ids()[0]
    bird = LabelClass.objects.get(dataset=bench.dataset, name="bird")
    request = decisions.Request(
        uuid=uuid4(), kind=Action.Kind.ASSIGN, at=timezone.now(),
        label_id=bird.pk, targets=(decisions.Target(pk),),
    )  # fmt: skip
    decisions.apply(bench.dataset, [request], user=User.objects.create_user("ben"), holder="another browser")
    bench.press("1")
    expect(bench.toasts).to_contain_text("ben labeled this image in the meantime (bird)")
    assert bench.chip(0) == "3 bird"
    expect(bench.tiles.first.locator(".conflict")).to_contain_text("ben")
    bench.settle()
    assert bench.outcome(pk) == (1, "bird")
    bench.press("Home", "1")
    assert bench.chip(0) == "1 cat"
    bench.settle()
    assert bench.outcome(pk) == (1, "cat")
    expect(bench.tiles.first.locator(".conflict")).to_have_count(0)
    bench.press("z")
    bench.settle()
    assert bench.outcome(pk) == (1, "bird")


def test_two_tabs_send_everything_once(bench: Bench, context: BrowserContext) -> None:
    bench.open("queue=all&state=any")
    other = Bench(context.new_page(), bench.address, bench.dataset).open("queue=all&state=any")
    ids = bench.ids()
    _cut(context)
    bench.press("1", "1")
    other.press("End", "2", "End", "3")
    expect(bench.banner).to_contain_text("unsent labels")
    context.unroute("**/annotate/")  # both tabs try again by themselves
    bench.settle()
    other.settle()
    assert bench.n_annotations() == 4
    assert Action.objects.count() == 4
    assert bench.outcome(ids[0]) == (1, "cat")
    expect(other.page.locator(f"#item-{ids[0]}")).to_have_attribute("data-state", "1")  # heard from the other tab


def test_without_locks_and_random_uuids(site: Site, browser: Browser) -> None:
    """An address beyond this machine without HTTPS is no secure context: neither is there."""
    context = browser.new_context()
    context.add_init_script("""
        Object.defineProperty(navigator, 'locks', {value: undefined});
        Object.defineProperty(crypto, 'randomUUID', {value: undefined});
    """)
    bench = Bench(context.new_page(), site.address, site.dataset()).open()
    bench.press(*"12312")
    bench.settle()
    assert bench.n_annotations() == 5
    assert len(set(Action.objects.values_list("uuid", flat=True))) == 5
    context.close()


def test_a_full_storage_keeps_labels_in_the_page(site: Site, browser: Browser) -> None:
    context = browser.new_context()
    context.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
    )
    bench = Bench(context.new_page(), site.address, site.dataset()).open()
    _cut(bench.page)
    bench.press("1", "2")
    expect(bench.banner).to_contain_text("2 unsent labels in this page, which must stay open")
    _mend(bench)
    expect(bench.banner).to_be_hidden()
    assert bench.n_annotations() == 2
    context.close()


def test_labels_of_another_person_are_left_alone(bench: Bench) -> None:
    bench.page.evaluate("""() => {
        const mine = document.getElementById('bench').dataset.outbox;
        const theirs = mine.replace(/-\\d+$/, '-999');
        const record = {action: {uuid: 'x', items: []}, effect: [], before: []};
        localStorage.setItem(`hoshina:outbox:${theirs}:00000000000000001:x`, JSON.stringify(record));
    }""")
    bench.press("1")
    expect(bench.page.locator(".tile[data-pending]")).to_have_count(0)
    assert len(bench.sent) == 1
    assert len(json.loads(bench.sent[0].post_data or "")["actions"]) == 1
    assert bench.waiting() == 1
