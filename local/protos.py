"""The message classes the worker library is handed as `protos`, without gRPC.

`azure_functions_runtime` takes its message classes from whoever starts it, builds its answers from
them by keyword, and reads the requests by attribute. So a message here is a bag of fields; only what
the library looks up on a class (constants) or calls on a value (`WhichOneof`) is spelled out. The
names are those of Microsoft's FunctionRpc.proto, which the library uses.
"""

from collections.abc import Iterable
from types import SimpleNamespace


class WorkerInitResponse(SimpleNamespace):
    """The answer to the start of the worker; indexing errors arrive in its result."""


class WorkerMetadata(SimpleNamespace):
    """What the worker tells about itself."""


class FunctionMetadataResponse(SimpleNamespace):
    """The indexed functions."""


class FunctionLoadResponse(SimpleNamespace):
    """The answer to loading one function."""


class InvocationResponse(SimpleNamespace):
    """The outcome of one function call; a failed one has no return value."""


class RpcException(SimpleNamespace):
    """An error of the function app: message and stack trace."""


class RpcFunctionMetadata(SimpleNamespace):
    """One indexed function."""


class RpcRetryOptions(SimpleNamespace):
    """The retry policy of one function; intervals its strategy does not use are absent."""


class StatusResult(SimpleNamespace):
    """Whether a request succeeded, and the exception if it did not."""

    Failure = 0
    Success = 1


class BindingInfo(SimpleNamespace):
    """One binding of a function, with the numbers of its directions."""

    out = 1
    inout = 2
    undefined = 0


class TypedData:
    """A value on the wire: at most one field, named after its kind.

    Kinds the library reads: `string`, `bytes`, `json`, `collection_bytes`, `collection_string`,
    `collection_sint64`. It also writes `int` and `double`.
    """

    def __init__(self, **field: object) -> None:
        """Take one keyword, the kind; none, or None as its value, leaves the data unset."""
        if len(field) > 1:
            raise TypeError(f"typed data holds one value, got {', '.join(sorted(field))}")
        self.kind: str | None = None
        self.value: object = None
        for kind, value in field.items():
            if value is not None:
                self.kind, self.value = kind, value
                setattr(self, kind, value)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Name the kind of the value."""
        return self.kind


class ParameterBinding:
    """One named input of a call, or one named output."""

    def __init__(self, name: str, data: TypedData) -> None:
        self.name = name
        self.data = data

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - protobuf's name
        """Say that the value travels in the message; shared memory is not offered."""
        return "data"


def collection_bytes(values: Iterable[bytes]) -> TypedData:
    """Make the input of a binary batch, as an Event Hubs trigger of many delivers it."""
    return TypedData(collection_bytes=SimpleNamespace(bytes=list(values)))


def collection_string(values: Iterable[str]) -> TypedData:
    """Make a list of texts, as trigger metadata carries offsets."""
    return TypedData(collection_string=SimpleNamespace(string=list(values)))


def collection_sint64(values: Iterable[int]) -> TypedData:
    """Make a list of whole numbers, as trigger metadata carries sequence numbers."""
    return TypedData(collection_sint64=SimpleNamespace(sint64=list(values)))
