"""How many examples Hypothesis draws: in proportion to the profile, so that a quick run draws fewer of all."""

from hypothesis import settings

_USUAL = 100


def examples(usual: int) -> settings:
    """Draw so many where the profile draws a hundred, as `make test` has it."""
    return settings(max_examples=max(usual * settings().max_examples // _USUAL, 1))
