"""Label selectors are read and matched as kubectl does."""

import pytest

from atoll.policies.selectors import parse_selector, selector_of

EU_LAB = {"region": "eu", "tier": "lab", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("region=eu", True),
        ("region==eu", True),
        ("region = us", False),
        ("region!=us", True),
        ("zone!=a", True),
        ("region in (us, eu)", True),
        ("region in (us)", False),
        ("region notin (us,asia)", True),
        ("zone notin (a)", True),
        ("region", True),
        ("zone", False),
        ("!zone", True),
        ("! region", False),
        ("empty=", True),
        ("zone=", False),
        ("region=eu,tier in (lab,edge),!zone", True),
        ("region=eu,tier in (edge)", False),
        ("atoll.dev/cluster=x", False),
    ],
)
def test_a_selector_matches_as_in_kubectl(text: str, expected: bool) -> None:
    assert parse_selector(text).matches(EU_LAB) is expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "region=eu,", "a b", "region in eu", "region in ()", "=x", "a=b=c", "a in (x y)", "a>1", "a," * 9000],
)
def test_what_is_no_selector_is_refused_with_the_part_that_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no label requirement|no label values|is empty|characters"):
        parse_selector(text)


def test_a_selector_in_a_manifest_has_the_same_meaning() -> None:
    body = {
        "matchLabels": {"region": "eu"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["lab"]},
            {"key": "zone", "operator": "DoesNotExist"},
            {"key": "zone", "operator": "NotIn", "values": ["a"]},
        ],
    }
    assert selector_of(body).matches(EU_LAB)
    assert not selector_of(body).matches(EU_LAB | {"zone": "b"})
    assert selector_of({}).matches({})
