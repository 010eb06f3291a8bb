"""Resource ids: one canonical form for every spelling, and nothing for what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.sources.resources import MAX_CHARACTERS, Resource, _canonical, canonical, parts
from tests.builders import SUBSCRIPTION, canonical_id, resource_id

names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    "spelling",
    [
        resource_id(),
        resource_id(upper=False),
        resource_id().lower(),
        resource_id(upper=False).swapcase(),
        f"{resource_id()}/",
        f"{resource_id()}//",
        f" {resource_id()}\n",
        f"{resource_id()}/DEPLOYMENTS/GPT-4O",
        f"{resource_id()}/deployments/gpt-4o/",
        f"{resource_id()}/providers/Microsoft.Insights/diagnosticSettings/all",
    ],
)
def test_every_spelling_of_an_id_is_one_resource(spelling: str) -> None:
    """Case, a slash at the end, white space around it and children make no difference."""
    assert canonical(spelling) == canonical_id()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "aoai-prod",
        f"/subscriptions/{SUBSCRIPTION}",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ai",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ai/providers/Microsoft.CognitiveServices/accounts",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ai/providers/Microsoft.CognitiveServices/accounts/",
        "/subscriptions//resourceGroups/rg-ai/providers/Microsoft.CognitiveServices/accounts/a",
        "/subscriptions/s/resourceGroups/r g/providers/Microsoft.CognitiveServices/accounts/a",
        "/tenants/t/resourceGroups/g/providers/p/t/n",
        f"x{resource_id()}",
        f"{resource_id()} and more",
        f"{resource_id()}\x1fx",
    ],
)
def test_what_is_no_resource_is_none(text: str) -> None:
    """A group that cannot be told is not made up."""
    assert canonical(text) is None


def test_an_id_may_lack_its_first_slash() -> None:
    """Some exports leave it out."""
    assert canonical(resource_id()[1:]) == canonical_id()


def test_an_id_that_is_too_long_is_none_and_is_not_remembered() -> None:
    """It would grow a stored tally, and the memory of the ids seen."""
    longest = resource_id("a" * (MAX_CHARACTERS - len(resource_id(""))))
    assert canonical(longest) == longest.lower()
    remembered = _canonical.cache_info().currsize
    assert canonical(f"{longest}a") is None
    assert canonical("x" * 1_000_000) is None
    assert _canonical.cache_info().currsize == remembered


@given(
    st.text(max_size=60), st.sampled_from(["", "/subscriptions/", resource_id(""), resource_id(), f"{resource_id()}/"])
)
def test_the_canonical_form_is_its_own(text: str, start: str) -> None:
    """Whatever comes in, nothing raises, and canonical ids stay what they are."""
    found = canonical(start + text)
    assert found is None or canonical(found) == found


@given(st.lists(names, min_size=5, max_size=5), st.lists(names, max_size=4))
def test_the_parts_of_an_id_are_those_it_was_made_of(segments: list[str], child: list[str]) -> None:
    """Subscription, group and name, each in lower case."""
    subscription, group, provider, kind, name = segments
    path = "/".join(
        ["/subscriptions", subscription, "resourceGroups", group, "providers", provider, kind, name, *child]
    )
    found = canonical(path)
    assert found is not None
    assert parts(found) == Resource(subscription.lower(), group.lower(), name.lower())


def test_resources_of_one_name_in_two_subscriptions_are_two() -> None:
    """Grouping by name alone would add them up."""
    assert canonical(resource_id()) != canonical(resource_id().replace(SUBSCRIPTION.upper(), SUBSCRIPTION[::-1]))
