"""The keys of the workbench, one by one."""

import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

from labeling.models import Annotation, Item, LabelClass
from tests.browser.bench import Bench, Held


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """Provide the workbench, opened with all unlabeled images."""
    return bench.open()


def test_digits_assign_and_the_focus_moves_on(bench: Bench) -> None:
    ids = bench.ids()
    bench.press("1", "2", "3")
    bench.page.evaluate(  # a numeric keypad with NumLock on
        """() => document.body.dispatchEvent(
            new KeyboardEvent('keydown', {key: '1', code: 'Numpad1', bubbles: true, cancelable: true}))"""
    )
    assert [bench.chip(i) for i in range(5)] == ["1 cat", "2 dog", "3 bird", "1 cat", ""]
    assert bench.index() == 4
    bench.settle()
    assert [bench.outcome(pk) for pk in ids[:4]] == [(1, "cat"), (1, "dog"), (1, "bird"), (1, "cat")]
    expect(bench.page.locator("[data-count=labelled]")).to_have_text("4")
    expect(bench.page.locator("#class-pane .class").first.locator(".count")).to_have_text("2")


def test_unsure_skip_clear(bench: Bench) -> None:
    ids = bench.ids()
    bench.press("0", "x", "X", "1")
    bench.press("ArrowLeft", "Backspace")
    assert bench.states()[:5] == ["2", "3", "3", "0", "0"]
    bench.settle()
    assert [bench.outcome(pk)[0] for pk in ids[:4]] == [2, 3, 3, 0]


def test_the_mark_does_not_wait_for_the_server(bench: Bench) -> None:
    held = Held(bench.page, "**/annotate/")
    bench.press("1")
    assert bench.chip(0) == "1 cat"
    held.wait_for(1)
    expect(bench.tiles.first).to_have_attribute("data-pending", "1")
    assert bench.n_annotations() == 0
    held.release()
    bench.settle()
    assert bench.n_annotations() == 1


def test_how_an_item_came_to_be_shown_is_recorded(bench: Bench) -> None:
    bench.open("queue=random&seed=11")
    pk = bench.ids()[0]
    bench.page.wait_for_timeout(300)
    bench.press("1")
    bench.settle()
    made = Annotation.objects.get(item=pk)
    assert (made.queue, made.rank, made.suggestion_shown) == ("random", 0, None)
    assert made.round_id is not None
    assert made.selection_probability is not None
    assert made.seconds is not None
    assert 0.2 < made.seconds < 60


def test_arrows_move_in_two_dimensions(bench: Bench) -> None:
    columns = bench.columns()
    assert columns > 2
    for key, place in [
        ("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowLeft", columns), ("ArrowUp", 0), ("ArrowUp", 0),
        ("ArrowLeft", 0), ("End", bench.n_tiles() - 1), ("ArrowRight", bench.n_tiles() - 1), ("Home", 0),
    ]:  # fmt: skip
        bench.press(key)
        assert bench.index() == place, key
    focus = bench.page.evaluate("document.activeElement.id")
    assert focus == bench.focused.get_attribute("id")
    assert bench.focused.get_attribute("tabindex") == "0"
    assert bench.page.locator('.tile[tabindex="0"]').count() == 1


def test_shift_arrows_select_a_range_that_a_digit_labels(bench: Bench) -> None:
    ids = bench.ids()
    bench.press("ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    expect(bench.selected).to_have_count(3)
    bench.press("Shift+ArrowLeft")
    expect(bench.selected).to_have_count(2)
    bench.press("2")
    expect(bench.selected).to_have_count(0)
    assert [bench.chip(i) for i in range(4)] == ["", "2 dog", "2 dog", ""]
    assert bench.index() == 3
    bench.settle()
    assert [bench.outcome(pk) for pk in ids[:4]] == [(0, ""), (1, "dog"), (1, "dog"), (0, "")]
    assert Annotation.objects.values("action").distinct().count() == 1


def test_mouse_selects_and_labels(bench: Bench) -> None:
    bench.tiles.nth(2).click()
    assert bench.index() == 2
    expect(bench.selected).to_have_count(0)
    bench.tiles.nth(5).click(modifiers=["Shift"])
    expect(bench.selected).to_have_count(4)
    bench.tiles.nth(3).click(modifiers=["Control"])
    expect(bench.selected).to_have_count(3)
    bench.tiles.nth(8).hover()
    bench.tiles.nth(8).locator(".tick").click()
    expect(bench.selected).to_have_count(4)
    bench.page.get_by_role("button", name=re.compile("bird")).click()
    assert [i for i, state in enumerate(bench.states()) if state == "1"] == [2, 4, 5, 8]
    assert bench.page.evaluate("document.activeElement.className").startswith("tile")


def test_a_whole_page_is_asked_about_first(bench: Bench) -> None:
    n = bench.n_tiles()
    assert n > 20
    bench.press("Control+a")
    expect(bench.selected).to_have_count(n)
    bench.press("1")
    question = bench.page.get_by_role("alertdialog")
    expect(question).to_contain_text(f"Label {n} images as cat?")
    assert set(bench.states()) == {"0"}
    bench.press("Escape")
    expect(question).to_have_count(0)
    expect(bench.selected).to_have_count(n)
    bench.press("1", "2")  # another key is not a yes
    expect(question).to_contain_text("as dog?")
    assert set(bench.states()) == {"0"}
    bench.press("2")
    assert set(bench.states()) == {"1"}
    bench.settle()
    assert Item.objects.filter(label__name="dog").count() == n
    assert Annotation.objects.values("action").distinct().count() == 1


def test_escape_clears_the_selection(bench: Bench) -> None:
    bench.press("Shift+ArrowRight", "Escape")
    expect(bench.selected).to_have_count(0)


def test_undo_any_depth(bench: Bench) -> None:
    ids = bench.ids()
    bench.press("1", "0", "x", "Shift+ArrowRight", "3")
    assert bench.states()[:6] == ["1", "2", "3", "1", "1", "0"]
    bench.press("z")
    assert bench.states()[:5] == ["1", "2", "3", "0", "0"]
    assert bench.index() == 3
    bench.press("z", "z", "z")
    assert set(bench.states()) == {"0"}
    assert bench.index() == 0
    bench.settle()
    assert {bench.outcome(pk) for pk in ids[:6]} == {(0, "")}
    bench.press("z")
    expect(bench.toasts).to_contain_text("nothing left to undo")


def test_undo_goes_back_to_the_label_before(bench: Bench) -> None:
    pk = bench.ids()[0]
    bench.press("1", "ArrowLeft", "2")
    assert bench.chip(0) == "2 dog"
    bench.press("z")
    assert bench.chip(0) == "1 cat"
    bench.settle()
    assert bench.outcome(pk) == (1, "cat")


def test_undo_after_a_reload_asks_the_server(bench: Bench) -> None:
    bench.open("queue=all&state=any")
    pk = bench.ids()[0]
    bench.press("1")
    bench.settle()
    bench.page.reload()
    bench.ready()
    assert bench.chip(0) == "1 cat"
    bench.press("z")
    expect(bench.tiles.first).to_have_attribute("data-state", "0")
    assert bench.outcome(pk) == (0, "")


def test_next_page_comes_with_the_last_tile_and_back_is_at_once(bench: Bench) -> None:
    first = bench.ids()
    bench.press("Control+a", "1", "1")
    expect(bench.page.locator(f"#item-{first[0]}")).to_have_count(0)
    second = bench.ids()
    assert not set(first) & set(second)
    assert bench.index() == 0
    bench.page.route("**/grid/**", lambda route: route.abort())  # what was seen needs no server
    bench.press("p")
    assert bench.ids() == first
    assert set(bench.states()) == {"1"}
    bench.press("n")
    assert bench.ids() == second


def test_the_next_page_is_fetched_before_it_is_needed(bench: Bench) -> None:
    n = bench.n_tiles()
    asked: list[str] = []
    bench.page.on("request", lambda request: asked.append(request.url) if "/grid/" in request.url else None)
    bench.press("1")
    bench.settle()
    assert asked == []
    bench.press(*["1"] * (n // 2))
    bench.settle()
    assert len(asked) == 1
    bench.page.wait_for_load_state("networkidle")
    bench.page.route("**/grid/**", lambda route: route.abort())
    shown = bench.ids()
    bench.press(*["2"] * (n - n // 2 - 1))
    expect(bench.page.locator(f"#item-{shown[0]}")).to_have_count(0)
    assert len(asked) == 1


def test_a_key_too_many_does_not_change_the_last_tile(bench: Bench) -> None:
    n = bench.n_tiles()
    last = bench.ids()[-1]
    bench.press("End", "1", "Home", *["1"] * (n - 2))
    # The last tile's key and one too many, in the same moment: the 2 comes before the page has turned.
    bench.page.evaluate(
        """for (const key of ["1", "2"])
             document.dispatchEvent(new KeyboardEvent("keydown", { key, code: `Digit${key}`, bubbles: true }))"""
    )
    expect(bench.page.locator(f"#item-{last}")).to_have_count(0)
    bench.settle()
    assert not Item.objects.filter(label__name="dog").exists()


def test_undo_turns_back_to_the_page(bench: Bench) -> None:
    first = bench.ids()
    bench.press("n")
    expect(bench.page.locator(f"#item-{first[0]}")).to_have_count(0)
    bench.press("p", "1")
    bench.press("n")
    expect(bench.page.locator(f"#item-{first[0]}")).to_have_count(0)
    bench.press("z")
    assert bench.ids() == first
    assert bench.states()[0] == "0"


def test_find_a_class_by_typing(bench: Bench) -> None:
    for name in ("Café au lait", "spiral galaxy"):
        LabelClass.objects.create(dataset=bench.dataset, name=name, colour="#4477AA", order=9)
    bench.open()
    bench.press("/")
    dialog = bench.page.get_by_role("dialog", name="Find a class or images")
    expect(dialog.get_by_role("option")).to_have_count(5)
    bench.page.keyboard.type("cafe")
    expect(dialog.get_by_role("option")).to_have_text(["Café au lait", re.compile("Images with “cafe” in the path")])
    bench.press("Enter")
    expect(dialog).to_be_hidden()
    assert bench.chip(0) == "Café au lait"
    bench.press("/")
    bench.page.keyboard.type("gal")
    bench.press("Enter", "1")
    assert [bench.chip(1), bench.chip(2)] == ["spiral galaxy", "1 cat"]


def test_images_are_found_by_their_path(bench: Bench) -> None:
    bench.open()
    bench.press("1", "/")
    bench.page.keyboard.type("IMAGE000")
    bench.press("Enter")
    expect(bench.page.locator("#grid .tile")).to_have_count(10)
    expect(bench.page.locator("#choice-path")).to_have_value("IMAGE000")
    bench.page.locator("#choice-path").fill("image0007")
    bench.page.locator("#choice-path").press("Enter")
    expect(bench.page.locator("#grid .tile")).to_have_count(1)
    bench.page.locator("#choice-path").fill("nowhere")
    bench.page.locator("#choice-path").press("Enter")
    expect(bench.page.locator("#grid")).to_contain_text("No path contains “nowhere”.")


def test_keys_do_nothing_while_typing(bench: Bench) -> None:
    bench.open("queue=random")
    seed = bench.page.locator("#choice-seed")
    seed.fill("12")
    seed.press("1")
    seed.press("x")
    assert set(bench.states()) == {"0"}
    assert seed.input_value() == "121x"
    bench.page.locator("#grid").click(position={"x": 2, "y": 2})


def test_keys_with_modifiers_are_the_browsers(bench: Bench) -> None:
    bench.page.evaluate("() => addEventListener('keydown', event => { window.wasTaken = event.defaultPrevented })")
    for key in ("Control+1", "Alt+2", "Meta+x", "Control+z"):
        bench.press(key)
        assert bench.page.evaluate("window.wasTaken") is False, key
    assert set(bench.states()) == {"0"}


def test_a_held_key_labels_once(bench: Bench) -> None:
    bench.page.keyboard.down("1")
    bench.page.keyboard.down("1")  # an automatic repeat
    bench.page.keyboard.down("1")
    bench.page.keyboard.up("1")
    assert bench.states().count("1") == 1


def test_keys_before_the_tiles_are_there_count(bench: Bench) -> None:
    def slowly(route: Route) -> None:
        bench.page.wait_for_timeout(300)
        route.continue_()

    bench.page.route("**/grid/**", slowly)
    bench.page.goto(f"{bench.url}?queue=all&state=unlabelled", wait_until="domcontentloaded")
    bench.press("1", "2")
    bench.ready()
    expect(bench.tiles.nth(1)).to_have_attribute("data-state", "1")
    assert [bench.chip(0), bench.chip(1)] == ["1 cat", "2 dog"]


def test_the_keys_dialog_lists_and_changes_keys(bench: Bench) -> None:
    bench.press("?")
    dialog = bench.page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    unsure = dialog.get_by_role("button", name=re.compile("^Unsure"))
    expect(unsure).to_have_text("0")
    bench.press("1")  # a dialog is open: the grid's keys are off
    unsure.click()
    bench.press("x")
    expect(dialog.get_by_role("alert")).to_contain_text("already “Skip”")
    bench.press("5")
    expect(dialog.get_by_role("alert")).to_contain_text("belongs to a class")
    bench.press("u")
    expect(unsure).to_have_text("U")
    bench.press("Escape")
    expect(dialog).to_be_hidden()
    bench.press("0", "u")
    assert bench.states()[:2] == ["2", "0"]
    bench.page.reload()
    bench.ready()
    bench.press("u")
    assert bench.states()[0] == "2"
    expect(bench.page.locator("footer [data-key-of=unsure]")).to_have_text("U")
    bench.press("?")
    dialog.get_by_role("button", name="Reset keys").click()
    bench.press("Escape", "0")
    assert bench.states()[1] == "2"


def test_detail_opens_follows_enlarges_and_closes(bench: Bench) -> None:
    side = bench.page.locator("#side")
    bench.press("Enter")
    expect(side).to_be_visible()
    expect(side).to_contain_text("image0000.png")
    bench.press("ArrowRight")
    expect(side).to_contain_text("image0001.png")
    bench.press("1")
    assert bench.chip(1) == "1 cat"
    expect(side).to_contain_text("image0002.png")
    bench.press("Enter")
    expect(bench.page.locator("#bench.full")).to_have_count(1)
    bench.press("2")
    expect(side).to_contain_text("image0003.png")
    bench.press("Escape")
    expect(bench.page.locator("#bench.full")).to_have_count(0)
    expect(side).to_be_visible()
    bench.press("Escape")
    expect(side).to_be_hidden()
    bench.press("Space")
    expect(side).to_be_visible()
    bench.press("Space")
    expect(side).to_be_hidden()
    assert bench.index() == 3


def test_a_button_of_the_detail_labels(bench: Bench) -> None:
    bench.press("Enter")
    bench.page.locator("#side-body [data-decide=assign]").nth(1).click()
    assert bench.chip(0) == "2 dog"
    bench.settle()
    assert bench.outcome(bench.ids()[0]) == (1, "dog")


def test_tile_size_is_kept_and_asks_for_as_many_as_fit(bench: Bench) -> None:
    before = bench.n_tiles()
    bench.press("-", "-")
    bench.page.wait_for_function("before => document.querySelectorAll('#grid .tile').length > before", arg=before)
    ids = bench.ids()  # read once: the second key may load more meanwhile
    assert len(set(ids)) == len(ids)
    bench.press("+", "+", "+", "+", "=")
    bench.page.reload()
    bench.ready()
    assert 2 <= bench.n_tiles() < before


def test_blind_hides_and_is_remembered(bench: Bench) -> None:
    bench.press("b")
    expect(bench.page.locator("body.blind")).to_have_count(1)
    bench.page.reload()
    bench.ready()
    expect(bench.page.locator("body.blind")).to_have_count(1)
    expect(bench.page.locator("#blind")).to_have_attribute("aria-pressed", "true")
    bench.press("b")
    expect(bench.page.locator("body.blind")).to_have_count(0)


def test_a_digit_without_a_class_says_so(bench: Bench) -> None:
    bench.press("7")
    expect(bench.toasts).to_contain_text("No class has the key 7")
    assert set(bench.states()) == {"0"}


def test_retrain_asks_for_a_job(bench: Bench) -> None:
    with bench.page.expect_response("**/model/retrain/") as answer:
        bench.press("r")
    assert answer.value.status == 204
    expect(bench.page.locator("#strip")).to_contain_text("Training the model")


def test_classes_dialog_brings_the_pane_up_to_date(bench: Bench) -> None:
    bench.press("1", "c")
    dialog = bench.page.locator("#dialog")
    expect(dialog).to_be_visible()
    bench.page.locator("#class-add-name").fill("fish")
    bench.press("Enter")
    expect(bench.page.locator("#class-pane")).to_contain_text("fish")
    bench.press("Escape")
    expect(dialog).to_be_hidden()
    bench.press("4")
    assert bench.chip(1) == "4 fish"


def test_a_queue_and_a_filter_make_an_address(bench: Bench) -> None:
    bench.press("1", "2", "0")
    bench.settle()
    bench.page.locator("#choice-state").select_option("labelled")
    expect(bench.tiles).to_have_count(2)
    assert "state=labelled" in bench.page.url
    bench.page.reload()
    bench.ready()
    expect(bench.tiles).to_have_count(2)
    bench.page.locator("#choice-label").select_option(label="dog")
    expect(bench.tiles).to_have_count(1)
    assert bench.chip(0) == "2 dog"


def test_a_queue_chosen_with_the_mouse_gives_the_keys_back(bench: Bench) -> None:
    bench.page.locator("#queue-menu summary").click()
    bench.page.locator('#queue-menu button[value="random"]').click()
    expect(bench.page.locator("#grid[data-kind=random]")).to_have_count(1)
    expect(bench.focused).to_be_focused()
    bench.press("ArrowRight", "1")
    assert bench.states()[:2] == ["0", "1"]
    expect(bench.page.locator("#queue-menu summary")).to_contain_text("Random")


def test_looking_through_what_is_decided_turns_no_page(bench: Bench) -> None:
    bench.press("1", "1", "1")
    bench.settle()
    bench.open("queue=all&state=labelled")
    ids = bench.ids()
    assert len(ids) == 3
    bench.press("2", "2", "2")
    bench.page.wait_for_timeout(600)
    assert bench.ids() == ids
    assert [bench.chip(i) for i in range(3)] == ["2 dog", "2 dog", "2 dog"]


@pytest.mark.parametrize("kind", ["unsure", "skip"])
def test_footer_buttons_do_what_the_keys_do(bench: Bench, kind: str) -> None:
    bench.page.locator(f"footer [data-do={kind}]").click()
    assert bench.states()[0] == {"unsure": "2", "skip": "3"}[kind]
    bench.settle()
    assert json.loads(bench.sent[0].post_data or "")["actions"][0]["kind"] == kind


LAYOUTS = {
    "cyrillic": {"z": "я", "x": "ч", "q": "й", "/": ".", "a": "ф"},
    "greek": {"z": "ζ", "x": "χ", "q": ";", "/": "/", "a": "α"},
    "hebrew": {"z": "ז", "x": "ס", "q": "/", "/": ".", "a": "ש"},
}
CODES = {"/": "Slash"}


def _press_at(page: Page, position: str, key: str, **modifiers: bool) -> None:
    """Press the key at a position of a US keyboard where the layout has another character."""
    page.evaluate(
        """([key, code, modifiers]) => (document.activeElement ?? document.body).dispatchEvent(
            new KeyboardEvent("keydown", {key, code, bubbles: true, cancelable: true, ...modifiers}))""",
        [key, CODES.get(position, f"Key{position.upper()}"), modifiers],
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_work_by_position_on_layouts_without_latin_letters(bench: Bench, layout: str) -> None:
    keys = LAYOUTS[layout]
    _press_at(bench.page, "x", keys["x"])
    assert bench.states()[:2] == ["3", "0"], "X skips"
    _press_at(bench.page, "z", keys["z"])
    assert bench.states()[:2] == ["0", "0"], "Z undoes"
    _press_at(bench.page, "a", keys["a"], ctrlKey=True)
    expect(bench.selected).to_have_count(bench.n_tiles())
    bench.press("Escape")
    _press_at(bench.page, "q", keys["q"])
    expect(bench.page.locator("#queue-menu details")).to_have_attribute("open", "")
    bench.press("Escape")
    _press_at(bench.page, "/", keys["/"])
    expect(bench.page.locator("#palette")).to_be_visible()


def test_latin_layouts_go_by_letter(bench: Bench) -> None:
    """On QWERTZ and Dvorak letters and marks are where the layout has them."""
    _press_at(bench.page, "/", "z")  # Dvorak has Z there
    expect(bench.toasts).to_contain_text("nothing left to undo")
    _press_at(bench.page, "x", "q")  # and Q at the place of X
    expect(bench.page.locator("#queue-menu details")).to_have_attribute("open", "")
    assert set(bench.states()) == {"0"}
