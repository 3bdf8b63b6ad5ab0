"""The workbench under fingers: a phone and a tablet, by real touch events."""

import time
from collections.abc import Iterator, Sequence

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Locator, Page, expect

from hoshina.jobs import presence
from hoshina.jobs.models import Job
from labeling.models import LabelClass
from tests.browser.axe import require_accessible
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model
from tests.factories import not_none
from tests.parts import BROWSER_TIMEOUT

Point = tuple[float, float]


@pytest.fixture(params=[(360, 740), (820, 1180)], ids=["phone", "tablet"])
def touch(request: pytest.FixtureRequest, browser: Browser, site: Site) -> Iterator[Bench]:
    """Provide a workbench with suggestions on a touch screen."""
    width, height = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    context.set_default_timeout(BROWSER_TIMEOUT)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    bench = Bench(page, site.address, site.dataset())
    add_falling_model(bench.dataset)
    page.goto(f"{bench.url}?queue=all&state=unlabelled")
    bench.ready()
    page.get_by_role("button", name="Close the introduction").tap()
    yield bench
    context.close()
    assert errors == []


def middle(element: Locator) -> Point:
    box = not_none(element.bounding_box())
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def send(page: Page, *frames: Sequence[Point], hold: int = 0) -> None:
    """Put fingers down at the first points, move them along, and lift them after ``hold`` ms.

    The events are 20 ms apart by their own times: sending them may take longer than a swipe.
    """
    session = page.context.new_cdp_session(page)
    at = time.time()

    def touch(kind: str, points: Sequence[Point] = ()) -> None:
        touches = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches, "timestamp": at})

    for number, points in enumerate(frames):
        touch("touchStart" if number == 0 else "touchMove", points)
        at += 0.02
    page.wait_for_timeout(hold)
    at += hold / 1000
    touch("touchEnd")
    session.detach()


def swipe(element: Locator, distance: float) -> None:
    x, y = middle(element)
    x -= distance / 2
    send(element.page, *([(x + distance * step / 6, y)] for step in range(7)))
    element.page.wait_for_timeout(1000)  # Chromium takes a tap at once after a swipe for a part of it


def test_classes_are_large_buttons_below_the_tiles(touch: Bench) -> None:
    page = touch.page
    stage = not_none(page.locator("#stage").bounding_box())
    for button in page.locator("#class-pane .class, .others .class:not(.add)").all():
        box = not_none(button.bounding_box())
        assert box["height"] >= 44
        assert box["y"] >= stage["y"] + stage["height"] - 1
    page.get_by_role("button", name="dog", exact=False).first.tap()
    assert touch.states()[0] == "1"
    assert touch.index() == 1
    touch.settle()
    assert touch.outcome(touch.ids()[0]) == (1, "dog")


def test_nothing_is_wider_than_the_window(touch: Bench) -> None:
    page = touch.page
    for queue in ("all", "sweep", "suspects", "band"):
        page.goto(f"{touch.url}?queue={queue}")
        touch.ready()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), queue
        expect(page.locator("#top .brand")).to_contain_text(touch.dataset.name)


def test_tiles_stay_where_they_are_when_the_names_become_longer(touch: Bench) -> None:
    page = touch.page
    before = [tile.bounding_box() for tile in touch.tiles.all()]
    LabelClass.objects.create(dataset=touch.dataset, name="marine invertebrates", order=9, key=4)
    page.evaluate("htmx.trigger(document.body, 'hoshina:classes')")
    expect(page.locator("#class-pane")).to_contain_text("marine invertebrates")
    page.wait_for_timeout(100)  # the tiles are laid out again when their space has changed
    height = not_none(page.locator("#stage").bounding_box())["height"]
    after = [tile.bounding_box() for tile in touch.tiles.all()]
    assert [not_none(box)["x"] for box in after] == [not_none(box)["x"] for box in before]
    rows = len({round(not_none(box)["y"]) for box in after})
    assert rows == len({round(not_none(box)["y"]) for box in before})
    assert not_none(after[-1])["y"] + not_none(after[-1])["height"] <= not_none(after[0])["y"] + height


def test_a_message_covers_neither_the_queue_nor_tiles(touch: Bench) -> None:
    touch.page.locator(".hints").get_by_role("button", name="undo").tap()
    message = not_none(touch.page.locator("#toasts .toast").bounding_box())
    queue, stage = (not_none(touch.page.locator(part).bounding_box()) for part in ("#queue-menu", "#stage"))
    assert queue["y"] + queue["height"] <= message["y"]
    assert message["y"] + message["height"] <= stage["y"]


def test_the_header_tells_the_count_and_the_model_and_opens_training(touch: Bench) -> None:
    header = touch.page.locator("#top")
    expect(header.locator(".of-items")).to_be_visible()
    expect(header.locator("#badge-slot")).to_contain_text("model 1")
    header.get_by_role("button", name="Train…").tap()
    expect(touch.page.locator("#dialog")).to_contain_text("Quick training")


def test_a_phone_has_no_empty_line_between_header_and_tiles(touch: Bench) -> None:
    if not_none(touch.page.viewport_size)["width"] > 480:
        touch.page.set_viewport_size({"width": 390, "height": 844})
    header, stage = (not_none(touch.page.locator(part).bounding_box()) for part in ("#top", "#stage"))
    assert abs(header["y"] + header["height"] - stage["y"]) <= 1


def test_the_menu_of_a_class_stays_on_the_screen(touch: Bench) -> None:
    page = touch.page
    page.goto(f"{touch.url}classes/")
    page.get_by_label("More for cat").tap()
    menu = page.locator(".class-menu[open] .menu-list")
    box = not_none(menu.bounding_box())
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(menu.get_by_role("button", name="Delete cat")).to_have_css("border-top-width", "0px")


def test_a_swipe_turns_the_page_and_another_undoes(touch: Bench) -> None:
    first = touch.ids()[0]
    touch.page.locator('[data-do="skip"]').first.tap()
    touch.settle()
    swipe(touch.page.locator("#stage"), 150)
    assert touch.states()[0] == "0"
    swipe(touch.page.locator("#stage"), -150)
    expect(touch.tiles.first).not_to_have_id(f"item-{first}")
    expect(touch.selected).to_have_count(0)


def test_a_long_press_selects_and_taps_add(touch: Bench) -> None:
    tile = touch.tiles.nth(1)
    send(touch.page, [middle(tile)], hold=650)
    expect(tile).to_have_attribute("aria-selected", "true")
    touch.tiles.nth(3).tap(position={"x": 20, "y": 40})
    expect(touch.selected).to_have_count(2)
    touch.page.locator("#class-pane .class").first.tap()
    assert [touch.states()[at] for at in (1, 3)] == ["1", "1"]
    assert touch.states()[0] == "0"


def test_a_finger_whose_move_arrives_just_after_the_long_press_selects_nothing(touch: Bench) -> None:
    """Move the finger right after the timer fired, as a busy page sees a move that was waiting."""
    touch.tiles.nth(1).evaluate("""tile => {
        const send = (type, x) => tile.dispatchEvent(
            new PointerEvent(type, { pointerType: "touch", pointerId: 7, clientX: x, clientY: 100, bubbles: true }));
        window.moved = new Promise(resolve => {
            send("pointerdown", 50);
            setTimeout(() => {
                send("pointermove", 90);
                requestAnimationFrame(() => requestAnimationFrame(resolve));
            }, 500);
        });
    }""")
    touch.page.evaluate("window.moved")
    assert touch.selected.count() == 0


def test_a_pinch_changes_the_size_of_the_tiles(touch: Bench) -> None:
    before = not_none(touch.tiles.first.bounding_box())
    x, y = middle(touch.page.locator("#stage"))
    send(touch.page, *([(x - 30 - 20 * step, y), (x + 30 + 20 * step, y)] for step in range(5)))
    expect(touch.selected).to_have_count(0)
    touch.page.wait_for_function(
        """before => {
            const { width, height } = document.querySelector('#grid .tile').getBoundingClientRect();
            return width * height > before;
        }""",
        arg=before["width"] * before["height"],
    )


def test_filters_are_in_a_sheet(touch: Bench) -> None:
    page, form = touch.page, touch.page.locator("#queues")
    expect(form).to_be_hidden()
    page.get_by_role("button", name="filters").tap()
    expect(form).to_be_visible()
    require_accessible(page)
    form.get_by_label("State").select_option("any")  # more images than usual, so no filter
    page.wait_for_url("**state=any**")
    form.get_by_label("Class", exact=True).select_option(label="cat")
    page.wait_for_url("**label=**")
    page.get_by_role("button", name="Done").tap()
    expect(form).to_be_hidden()
    expect(page.locator("#open-filters")).to_have_text("filters (1)")
    page.get_by_role("button", name="filters").tap()
    page.get_by_role("button", name="Clear filters").tap()
    page.touchscreen.tap(100, 120)
    expect(form).to_be_hidden()
    expect(page.locator("#open-filters")).to_have_text("filters")
    expect(touch.selected).to_have_count(0)


def test_labeling_one_image_at_a_time(touch: Bench) -> None:
    page = touch.page
    page.locator(".hints").get_by_role("button", name="detail").tap()
    image = page.locator("#side-body .zoom img")
    expect(image).to_be_visible()
    expect(page.locator("#stage")).to_be_hidden()
    first = image.get_attribute("src")
    page.locator("#class-pane .class").first.tap()
    expect(image).not_to_have_attribute("src", first or "")
    swipe(page.locator("#side-body .zoom"), 150)  # undo
    expect(image).to_have_attribute("src", first or "")
    swipe(page.locator("#side-body .zoom"), -150)  # the next image
    expect(image).not_to_have_attribute("src", first or "")
    page.go_back()  # closes the detail, and stays on the page
    expect(page.locator("#side")).to_be_hidden()
    expect(page.locator("#stage")).to_be_visible()


def test_no_serious_finding_on_a_touch_screen(touch: Bench) -> None:
    require_accessible(touch.page)
    touch.page.goto(f"{touch.url}?queue=sweep")
    touch.ready()
    require_accessible(touch.page)


def test_a_running_job_is_cancelled_in_the_header_and_widens_nothing(touch: Bench) -> None:
    now = timezone.now()
    Job.objects.create(
        kind="embed", queue="heavy", key="embed", dataset_id=touch.dataset.pk, state=Job.State.RUNNING, total=448,
        done=34, stage="Computing", stage_started_at=now, started_at=now, heartbeat_at=now, worker=presence.me(),
    )  # fmt: skip
    page = touch.open().page
    cancel = page.locator(".strip-job").get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    slot, button = not_none(page.locator("#strip-slot").bounding_box()), not_none(cancel.bounding_box())
    assert button["x"] + button["width"] <= slot["x"] + slot["width"] + 1
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
