"""What several commands take."""

from argparse import ArgumentTypeError

import pytest

from detectors.cli.arguments import ThresholdValues, threshold_names, threshold_values
from detectors.configuration.settings import Settings
from detectors.errors import SettingsError
from detectors.evaluation.policy import MAX_THRESHOLD
from detectors.rules.catalogue import CATALOGUE
from local.host import sample_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model_theft.count=50", ThresholdValues("model_theft", "count", (50,))),
        ("model_theft.count=200,50, 100,50", ThresholdValues("model_theft", "count", (50, 100, 200))),
        ("model_theft.response_length=1", ThresholdValues("model_theft", "response_length", (1,))),
        (f"model_theft.count={MAX_THRESHOLD}", ThresholdValues("model_theft", "count", (MAX_THRESHOLD,))),
    ],
)
def test_a_threshold_is_given_one_number_or_several(text: str, expected: ThresholdValues) -> None:
    """Ascending, each once."""
    assert threshold_values(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "model_theft.count",
        "model_theft.count=",
        "model_theft.count=0",
        "model_theft.count=-1",
        "model_theft.count=1,",
        "model_theft.count=1.5",
        "model_theft.count=many",
        "model_theft.count=\u0661",
        "model_theft.count=1_0",
        f"model_theft.count={MAX_THRESHOLD + 1}",
        "model_theft.count=" + "9" * 5000,
    ],
)
def test_a_number_that_no_setting_would_take_is_refused(text: str) -> None:
    """The message says which numbers are taken."""
    with pytest.raises(ArgumentTypeError, match=r"give model_theft\.count= whole numbers from 1 to"):
        threshold_values(text)


@pytest.mark.parametrize("text", ["model_theft.cuont=5", "model_thief.count=5", "MODEL_THEFT__COUNT=5", "=5", ""])
def test_an_unknown_threshold_is_refused_with_those_there_are(text: str) -> None:
    """A misspelt one would change nothing and say nothing."""
    with pytest.raises(ArgumentTypeError) as refused:
        threshold_values(text)
    assert all(name in str(refused.value) for name in threshold_names())


def test_the_nearest_threshold_is_offered() -> None:
    """If there is one."""
    with pytest.raises(ArgumentTypeError, match=r"did you mean model_theft\.count\?$"):
        threshold_values("model_theft.cuont=5")
    with pytest.raises(ArgumentTypeError, match=r"[^?]$"):
        threshold_values("=5")


def test_every_threshold_of_the_catalogue_can_be_named() -> None:
    """As rule, point, threshold."""
    named = [threshold_values(f"{name}=1")[:2] for name in threshold_names()]
    assert named == [(rule.id, threshold.name) for rule in CATALOGUE for threshold in rule.thresholds]


def test_the_command_line_takes_the_numbers_that_the_settings_take() -> None:
    """The largest of both is the same."""
    env = {**sample_settings(), "MODEL_THEFT__COUNT": str(MAX_THRESHOLD)}
    assert Settings.from_env(env).policy.resolve("model_theft", "").thresholds["count"].value == MAX_THRESHOLD
    with pytest.raises(SettingsError):
        Settings.from_env({**env, "MODEL_THEFT__COUNT": str(MAX_THRESHOLD + 1)})
