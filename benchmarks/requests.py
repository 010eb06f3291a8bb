"""Requests to storage, counted where they leave its client."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from azure.core.pipeline.transport import RequestsTransport


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Give the requests that are sent while this is open, by HTTP method; each retry and page counts."""
    requests: Counter[str] = Counter()
    send = RequestsTransport.send

    def counting(transport: RequestsTransport, request: Any, **options: object) -> object:  # noqa: ANN401 - untyped SDK
        requests[request.method] += 1
        return send(transport, request, **options)

    with patch.object(RequestsTransport, "send", counting):
        yield requests
