"""The commands of `python -m detectors`: each a module with `add`, which describes it, and a function that runs it."""
