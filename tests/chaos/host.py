"""A host in a process of its own, so that it can be killed: `python -m tests.chaos.host`.

Its settings are in its environment. It runs the functions as published, on Microsoft's worker library. It reads orders
from its input, a line of JSON each, and answers each with a line: what went wrong, or null, and what time it is then.
"""

import base64
import json
import os
import sys
from datetime import datetime
from typing import Any
from unittest.mock import patch

from azure.core.pipeline.transport import RequestsTransport

from detectors.events import Event
from detectors.storage import buckets
from local.host import LocalHost, OrchestrationError
from local.worker import FunctionError


def _carry_out(host: LocalHost, order: dict[str, Any]) -> str | None:
    host.now = datetime.fromisoformat(order["now"])
    try:
        if "events" in order:
            events = [
                Event(sequence, datetime.fromisoformat(at), base64.b64decode(body))
                for sequence, at, body in order["events"]
            ]
            host.invoke_ingest(order["partition"], events)
        else:
            host.tick(host.now)
    except (FunctionError, OrchestrationError) as error:
        return str(error)
    return None


def main() -> None:
    """Carry out orders until there are no more. The clients do not wait between their tries."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever prints must not answer
    first = json.loads(sys.stdin.readline())
    small = patch.multiple(buckets, MAX_SLICE_BYTES=first["slice_bytes"], CROWDED_SHARE=0)
    hasty = patch.object(RequestsTransport, "sleep", lambda *_: None)
    with small, hasty, LocalHost(os.environ, datetime.fromisoformat(first["now"])) as host:
        for line in sys.stdin:
            wrong = _carry_out(host, json.loads(line))
            print(json.dumps([wrong, host.now.isoformat()]), file=answers, flush=True)


if __name__ == "__main__":
    main()
