"""Who calls AWS in examples: roles and their sessions, for short names; ARNs stay."""

from detectors.examples.writer import Fields
from detectors.sources.aws_bedrock import principal

_ROLE = "app-prod"

ACCOUNTS = ("111122223333", "444455556666", "777788889999")
"""Of customers; all from AWS's own examples."""


def with_callers(fields: Fields) -> Fields:
    """Complete `caller`, the session, and `principal`, the user or the role without it.

    A caller that is no ARN yet is a session of the role that the principal names; a principal that is an ARN of a user
    has no sessions.
    """
    if "caller" in fields and fields["caller"] is None:
        return {**fields, "principal": None}
    caller, role = str(fields.get("caller", "an application")), str(fields.get("principal") or _ROLE)
    if not caller.startswith("arn:"):
        session = "-".join(caller.split())
        if not role.startswith("arn:"):
            role = f"arn:aws:sts::{fields['account']}:assumed-role/{'-'.join(role.split())}"
        caller = f"{role}/{session}" if ":assumed-role/" in role else role
    return {**fields, "caller": caller, "principal": principal(caller)}
