"""How many examples Hypothesis draws: in proportion to the profile, so that a quick run draws fewer of all.

`make test` draws the same ones each time. `pytest --hypothesis-profile=explore` draws others, and twice as many.
"""

from hypothesis import settings

_USUAL = 100


def examples(usual: int) -> settings:
    """Draw so many where the profile draws a hundred."""
    return settings(max_examples=max(usual * settings().max_examples // _USUAL, 1))
