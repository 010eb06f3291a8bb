"""Runs one target under a fuzzer that follows coverage, in a process of its own: `python -m tests.fuzz.engine NAME …`.

Atheris (libFuzzer) owns its process: it ends it. What stands behind the name are libFuzzer's own arguments.
"""

import sys

import atheris


def main(arguments: list[str]) -> None:
    """Fuzz a target until libFuzzer has enough, or a target raises."""
    with atheris.instrument_imports(include=["detectors", "tests.fuzz.targets"]):
        from tests.fuzz.targets import BY_NAME  # noqa: PLC0415 - only what is imported here is watched
    program, name, *others = arguments
    atheris.Setup([program, *others], BY_NAME[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
