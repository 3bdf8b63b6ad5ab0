"""Test grouping templates (matching, validation, preview) against simple reference implementations."""

import itertools
import random
import string
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.images.folder_walk import FoundFile
from labeling.ingest.grouping_preview import EXAMPLES, preview_grouping
from labeling.ingest.grouping_template import GroupingProblem, Place, Template, in_order


def placed(template: str, path: str, *roles: str) -> tuple[str, str] | None:
    place = Template.read(template, roles).place(path)
    return place and (place.group, place.role)


# -- What matches -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("{id}_{role}.fits", "sn_2031_target.fits", ("sn_2031", "target")),
        ("{id}_{role}.fits", "night 1/sn_2031_target.fits", ("night 1/sn_2031", "target")),
        ("{id}_{role}.fits", "sn.fits", None),
        ("{id}_{role}.fits", "_ref.fits", None),
        ("{id}_{role}.fits", "sn_ref.fits.png", None),
        ("{role}_{id}.png", "ref_a_b.png", ("a_b", "ref")),
        ("{id}/{role}.png", "x/y/before.png", ("x/y", "before")),
        ("{id}/{role}.png", "before.png", None),
        ("{role}/{id}.fits", "deep/ref/7.fits", ("deep/7", "ref")),
        ("{role}/{id}.*", "ref/7.tar.gz", ("7.tar", "ref")),
        ("*/{role}/{id}.fits", "a/b/ref/7.fits", ("a/7", "ref")),
        ("{id}-*-{role}.png", "a-b-c-d.png", ("a-b", "d")),
        ("{id}{role:g,r,i}.png", "field7g.png", ("field7", "g")),
        ("{id}_{role:g, r}.png", "field_r.png", ("field", "r")),
        ("{id}_{role:g,r}.png", "field_i.png", None),
        ("{id}_{role:ref,my_ref}.png", "a_my_ref.png", ("a", "my_ref")),
        ("img({id}).{role}+.png", "img(a).b+.png", ("a", "b")),
        ("{id}_{role}.fits", "naïve 🦆_réf.fits", ("naïve 🦆", "réf")),
        ("{id}_{role}.fits", "a\nb_c\nd.fits", ("a\nb", "c\nd")),
        ("{id}_{role}.fits", f"a_{'x' * 41}.fits", None),
    ],
)
def test_a_path_has_a_place_or_none(template: str, path: str, expected: tuple[str, str] | None) -> None:
    assert placed(template, path) == expected


def test_named_roles_are_part_of_the_text() -> None:
    template = Template.read(" {id}_{role}.fits ", ("target", " ref"))
    assert (template.text, template.roles) == ("{id}_{role:target,ref}.fits", ("target", "ref"))
    assert Template.read(template.text) == Template.read(template.text, ("target", "ref")) == template


def test_why_a_file_has_no_place() -> None:
    template = Template.read("{id}_{role:target,ref}.fits")
    assert template.why_not("a_mask.fits") == "Its role would be “mask”, which is not one of target, ref."
    assert "does not match the template {id}_{role:target,ref}.fits" in template.why_not("a.png")
    assert "longer than 40" in Template.read("{id}_{role}.png").why_not(f"a_{'x' * 41}.png")
    assert template.why_not("a_\udce9.fits").isascii()


# -- What is refused ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "Enter a template"),
        ("{id}.fits", "must contain {role}"),
        ("{role}.fits", "must contain {id}"),
        ("{id}_{id}_{role}.png", "only one {id}"),
        ("{id}_{role}_{role:a,b}.png", "only one {role}"),
        ("{id}_{band}.png", "{band} is unknown"),
        ("{id_{role}.png", "a single {"),
        ("{id}}_{role}.png", "a single }"),
        ("{id}{role}.png", "between {id} and {role}"),
        ("{id}*_{role}.png", "between {id} and *"),
        ("{id}_{role:a}*", "between {role} and *"),
        ("*_*_{id}_*_{role}.png", "at most 2 *"),
        ("/{id}/{role}.png", "remove the /"),
        ("{id}/{role}/", "missing after a /"),
        ("{id}//{role}", "missing after a /"),
        ("{id}\\{role}.png", "Use /"),
        ("{id}\n{role}.png", "line breaks"),
        ("{id}_{role:}.png", "not a valid role name"),
        ("{id}_{role:a,a}.png", "twice"),
        ("{id}_{role:a,b/c}.png", "not a valid role name"),
        (f"{{id}}_{{role:{'x' * 41}}}.png", "at most 40"),
        (f"{{id}}_{{role:{','.join(string.ascii_letters)}}}.png", "at most 16"),
        (f"{{id}}_{{role}}{'x' * 200}", "at most 200"),
    ],
)
def test_bad_templates_are_refused_in_words(template: str, message: str) -> None:
    with pytest.raises(GroupingProblem) as caught:
        Template.read(template)
    assert message in str(caught.value)


def test_roles_named_twice_have_to_be_the_same() -> None:
    with pytest.raises(GroupingProblem, match="given twice and differ"):
        Template.read("{id}_{role:a,b}.png", ("b", "a"))


# -- Against an oracle that tries every way -------------------------------------------------------------
def every_way(pieces: list[str], name: str, roles: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Yield all ways to match ``name``, by the longest {id} and shortest {role} or * of the first piece."""
    if not pieces:
        if not name:
            yield {}
        return
    piece, rest = pieces[0], pieces[1:]
    if piece not in ("{id}", "{role}", "*"):
        if name.startswith(piece):
            yield from every_way(rest, name[len(piece) :], roles)
        return
    lengths = range(len(name), 0, -1) if piece == "{id}" else range(piece != "*", len(name) + 1)
    for length in lengths:
        value = name[:length]
        if "/" in value or (piece == "{role}" and roles and value not in roles):
            continue
        for match in every_way(rest, name[length:], roles):
            yield {piece: value} | match


def oracle(pieces: list[str], path: str, roles: tuple[str, ...]) -> Place | None:
    """Return the first match of the longest role that matches."""
    starts = [0, *(at + 1 for at, character in enumerate(path) if character == "/")]
    for named in sorted(((role,) for role in roles), key=lambda names: -len(names[0])) if roles else [()]:
        for start in starts:
            for match in every_way(pieces, path[start:], named):
                return Place(path[:start] + match["{id}"], match["{role}"])
    return None


@st.composite
def templates(draw: st.DrawFn) -> tuple[list[str], tuple[str, ...]]:
    literals = st.text("ab_/.", min_size=1, max_size=2).filter(lambda text: "//" not in text)
    names = draw(st.permutations(["{id}", "{role}", *draw(st.lists(st.just("*"), max_size=2))]))
    pieces: list[str] = [draw(literals)] if draw(st.booleans()) else []
    for name in names:
        pieces += [name, draw(literals)]
    roles = draw(st.lists(st.sampled_from(["a", "b", "ab", "b_a", "_"]), unique=True, max_size=3))
    return pieces, tuple(roles)


@settings(max_examples=400, deadline=None)
@given(templates(), st.lists(st.text("ab_/.", max_size=12), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_any_template_finds_what_trying_every_way_finds(
    template_parts: tuple[list[str], tuple[str, ...]], paths: list[str], rng: random.Random
) -> None:
    pieces, roles = template_parts
    text = "".join(pieces)
    try:
        template = Template.read(text, roles)
    except GroupingProblem:
        return
    fills = [rng.choice(["a", "b", "ab", "a_b", "_"]) for _ in range(20)]
    filled = "".join(rng.choice(fills) if piece in ("{id}", "{role}", "*") else piece for piece in pieces)
    for path in [*paths, filled, f"ab/{filled}"]:
        if "//" not in path and not path.startswith("/"):
            assert template.place(path) == oracle(pieces, path, roles), (text, roles, path)


# -- Roles --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("diff ref target", "target ref diff"), ("after before", "before after"), ("z g i r u y", "u g r i z y"),
        ("SCI diff TEMPLATE", "SCI TEMPLATE diff"), ("f10 f9 f1", "f1 f9 f10"),
        ("mask weight ref", "ref mask weight"),
    ],
)  # fmt: skip
def test_roles_come_in_the_order_that_people_expect(roles: str, expected: str) -> None:
    for order in itertools.permutations(roles.split()):
        assert in_order(order) == expected.split()


# -- A trial ------------------------------------------------------------------------------------------
def tried(template: str, paths: list[str], *roles: str, seconds: float | None = None) -> dict[str, object]:
    walk = [FoundFile(path) for path in paths] + [FoundFile("broken.fits", "a problem")]
    return preview_grouping(Template.read(template, roles), lambda: walk, seconds=seconds).as_json()


def test_a_trial_counts_groups_and_says_what_is_missing() -> None:
    paths = [f"{number}_{role}.fits" for number in range(4) for role in ("diff", "target", "ref")]
    paths += ["4_ref.fits", "x.fits", "1_ref.png"]
    result = tried("{id}_{role}.*", [*paths, "3_ref.fits.gz"])
    assert result == {
        "template": "{id}_{role}.*",
        "files": 16,
        "groups": 5,
        "complete": 4,
        "incomplete": 1,
        "unmatched": 1,
        "doubled": 2,
        "roles": {"target": 4, "ref": 7, "diff": 4},
        "complete_examples": ["0", "1", "2", "3"],
        "incomplete_examples": [{"group": "4", "missing": "target, diff"}],
        "unmatched_examples": [
            {"path": "x.fits", "reason": "It does not match the template {id}_{role}.*, which groups the files."}
        ],
        "doubled_examples": [
            {"path": path, "role": "ref"} for path in ("1_ref.fits", "3_ref.fits", "1_ref.png", "3_ref.fits.gz")
        ],
    }


def test_roles_that_no_file_has_make_every_group_incomplete() -> None:
    result = tried("{id}_{role}.fits", ["1_a.fits", "2_a.fits", "2_b.fits"], "a", "c")
    assert (result["groups"], result["complete"], result["roles"]) == (2, 0, {"a": 2, "c": 0})
    assert result["incomplete_examples"] == [{"group": "1", "missing": "c"}, {"group": "2", "missing": "c"}]


def test_a_folder_without_a_match_and_an_empty_one() -> None:
    result = tried("{id}_{role}.fits", [f"{number}.png" for number in range(10)])
    assert (result["files"], result["groups"], result["unmatched"], result["roles"]) == (10, 0, 10, {})
    assert len(result["unmatched_examples"]) == EXAMPLES  # type: ignore[arg-type]
    assert tried("{id}_{role}.fits", [])["files"] == 0


def test_a_trial_ends_when_its_time_is_over() -> None:
    walk = [FoundFile(f"{number}_a.png") for number in range(2000)]
    trial = preview_grouping(Template.read("{id}_{role}.png"), lambda: walk, seconds=0)
    assert trial.is_partial
    assert trial.n_files < 300


def test_a_trial_of_random_names_agrees_with_a_dictionary() -> None:
    rng = random.Random(3)
    for _ in range(20):
        roles = ["a", "b", "c", "d"][: rng.randint(1, 4)]
        choices = [["", "n/", "m/"], roles, ["/"], [str(number) for number in range(30)], [".png", ".fits", "-"]]
        paths = {"".join(rng.choice(some) for some in choices) for _ in range(200)}
        groups: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            *above, role, name = path.split("/")
            if name.endswith((".png", ".fits")):
                groups["/".join([*above, name.rsplit(".", 1)[0]])].append(role)
        result = tried("{role}/{id}.*", sorted(paths))
        all_roles = {role for roles in groups.values() for role in roles}
        assert result["groups"] == len(groups)
        assert result["complete"] == sum(len(set(roles)) == len(all_roles) for roles in groups.values())
        assert result["doubled"] == sum(len(roles) - len(set(roles)) for roles in groups.values())
        assert result["unmatched"] == sum(path.endswith("-") for path in paths)
