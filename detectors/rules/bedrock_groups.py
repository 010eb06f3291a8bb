"""What rules group Bedrock records by. Times are microseconds since 1970, None for a record that tells none."""

from detectors import bedrock
from detectors.records import Properties, Record
from detectors.rules.groups import MINUTE_MICROSECONDS, minute_of
from detectors.rules.rule import Ungrouped
from detectors.tally import Group


def by_user_model_and_account(record: Record, _properties: Properties, _time: int | None) -> Group | Ungrouped:
    """The caller's ARN, the model and the account."""
    user, model, account = bedrock.user_arn(record), bedrock.model_id(record), bedrock.account_id(record)
    if user is None:
        return Ungrouped.NO_CALLER
    if model is None:
        return Ungrouped.NO_MODEL
    return Ungrouped.NO_ACCOUNT if account is None else (user, model, account)


def by_user_account_and_minute(record: Record, _properties: Properties, time: int | None) -> Group | Ungrouped:
    """The caller's ARN, the account, and the minute of the record's own time."""
    user, account = bedrock.user_arn(record), bedrock.account_id(record)
    if user is None:
        return Ungrouped.NO_CALLER
    if account is None:
        return Ungrouped.NO_ACCOUNT
    return Ungrouped.NO_TIME if time is None else (user, account, minute_of(time // MINUTE_MICROSECONDS))


def by_user_model_account_and_violations(record: Record, properties: Properties, time: int | None) -> Group | Ungrouped:
    """The caller's ARN, the model, the account, and how many guardrail policies blocked the request."""
    group = by_user_model_and_account(record, properties, time)
    return group if isinstance(group, Ungrouped) else (*group, str(len(bedrock.blocked_policies(record))))
