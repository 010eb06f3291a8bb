"""The errors that this package raises on purpose.

    DetectorError
    ├── SettingsError      the environment is not usable; lists every problem
    ├── StorageError       Table Storage did not carry out a request
    │   ├── ConflictError  a conditional write lost against another writer
    │   └── TooLargeError  an entity is beyond what the service takes
    ├── PostingError       the Logs Ingestion API did not accept the rows
    └── InputError         an exported log does not exist, or cannot be opened
        └── UnreadableError  the rest of an opened one cannot be read; becomes a `ReadError` of the backtest

A bad record raises nothing: it is counted and quarantined with its place.
"""

from collections.abc import Sequence


class DetectorError(Exception):
    """The root: catch it to catch every error that the detector raises on purpose."""


class SettingsError(DetectorError):
    """The environment is not usable.

    Attributes:
        problems: every problem found, each naming the setting and the fix.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} setting(s) need attention:\n{listed}")


class StorageError(DetectorError):
    """Table Storage did not carry out a request; the caller's batch must be redelivered."""


class ConflictError(StorageError):
    """A conditional write found another version of the row than it expected."""


class TooLargeError(StorageError):
    """A row is beyond the limits that Table Storage sets for an entity."""


class PostingError(DetectorError):
    """The Logs Ingestion API did not accept the rows; some of them may have arrived."""


class InputError(DetectorError):
    """An exported log does not exist, or cannot be opened: the command line needs another argument."""


class UnreadableError(InputError):
    """The rest of an input cannot be read.

    Attributes:
        reason: a short stable code, such as `truncated`.
        detail: a sentence for the reader.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")
