"""Write an analytics rule for each detection: `python -m infra.sentinel.analytic_rules` after a change of the sources.

What all of them share, such as how an episode alerts once, stands in detection.yaml.template. What each says stands in
the table [alert] of the rule's file.
"""  # noqa: INP001

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from string import Template
from textwrap import fill, indent

from detectors.rules.catalogue import CATALOGUE
from detectors.rules.rule import Alert, Rule
from infra.sentinel import content, hunting_queries

HERE = Path(__file__).parent
DETAILS = (
    *("RuleId", "EpisodeId", "FindingId", "Status", "RiskScore", "WindowStart", "WindowEnd", "EventCount"),
    *("TopCallers", "FirstEventTime", "LastEventTime", "AtlasTechniques", "DetectorVersion"),
)
"""Columns that every alert has in its details; Sentinel takes 20."""

_WIDTH = 118


def path(rule_id: str) -> Path:
    """Where the analytics rule of a detection stands."""
    return HERE / "analytic-rules" / f"{rule_id.replace('_', '-')}.yaml"


def render(rule: Rule, alert: Alert) -> str:
    """Return the analytics rule as YAML."""
    raises = alert.raises
    texts = {
        "id": alert.id,
        "name": rule.name,
        "version": alert.version,
        "enabled": "enabled: false\n" if raises == "nothing" else "",
        "description": _wrapped(_description(rule, alert), "  "),
        "severity": rule.severity,
        "tactics": _listed(alert.attack),
        "techniques": _listed(dict.fromkeys(chain.from_iterable(alert.attack.values()))),
        "entities": _entities(rule),
        "details": "\n".join(f"  {name}: {name}" for name in (*DETAILS, *alert.details)),
        "triage": indent(alert.triage.strip(), "    "),
        "incident": "true" if raises == "incident" else "false",
    }
    template = Template((HERE / "detection.yaml.template").read_text())
    return template.substitute(texts | _of_query(rule, alert))


def _of_query(rule: Rule, alert: Alert) -> dict[str, str]:
    """Return the places of the query that differ between rules."""
    return {
        "rule_id": rule.id,
        "latest_minute": _LATEST_MINUTE if rule.per_minute else "",
        "group": "".join(f"      {_COLUMN.get(name, name)} = tostring(Group.{name}),\n" for name in _told_apart(rule))
        + (_MEMBERS if rule.distinct else ""),
        "each_reason": _each_reason(rule),
        "weight": "Bytes" if rule.needs_bytes_by_caller else "Count",
        "place": _ON_ACCOUNT if _on_azure(rule) else _BY_USER if _on_aws(rule) else _BY_CALLER,
        "reasons": _reasons(rule),
        "when": _MINUTE if rule.per_minute else _HOUR,
        "who": _who(rule),
        "columns": _wrapped(", ".join(_columns(rule, alert)), "      "),
    }


_LATEST_MINUTE = "  | summarize arg_max(LastEventTime, *) by EpisodeId, WindowEnd // of several minutes the latest\n"
_ON_ACCOUNT = '" on ", ResourceName'
_BY_CALLER = '": ", First'
_BY_USER = '": ", coalesce(tostring(split(UserArn, ":")[5]), UserArn)'
_MINUTE = '". In the minute ", Minute'
_HOUR = """\
". Between ", format_datetime(WindowStart, "yyyy-MM-dd HH:mm"), " and ", format_datetime(WindowEnd, "HH:mm"),
          " UTC, by arrival; in each ten minutes: ", TenMinuteCounts"""
_ENTITY = """\
  - entityType: {}
    fieldMappings:
      - identifier: {}
        columnName: {}"""
_MEMBERS = """\
      TopMembers = strcat(
          tostring(split(tostring(Members[0].Name), "/")[-1]),
          iff(array_length(Members) > 1, strcat(", ", tostring(split(tostring(Members[1].Name), "/")[-1])), ""),
          iff(array_length(Members) > 2, strcat(", ", tostring(split(tostring(Members[2].Name), "/")[-1])), ""),
          iff(array_length(Members) > 3, " and others", "")),
"""
_COLUMN = {"AccountId": "AwsAccountId"}  # in a table of Azure accounts


def _on_azure(rule: Rule) -> bool:
    return "ResourceId" in rule.group_fields


def _on_aws(rule: Rule) -> bool:
    return "UserArn" in rule.group_fields


def _told_apart(rule: Rule) -> list[str]:
    """Return the group fields that no other column of a finding tells."""
    return [name for name in rule.group_fields if name not in {"ResourceId", "Caller"}]


def _caller_columns(rule: Rule) -> list[str]:
    """Whom an alert names as entities: three callers; the one whom the group is about; nobody if an ARN does."""
    most = 0 if _on_aws(rule) else 1 if "Caller" in rule.group_fields else 3
    return [f"Caller{number}" for number in range(1, most + 1)]


def _columns(rule: Rule, alert: Alert) -> list[str]:
    resource = ["ResourceId", "ResourceName", "ResourceGroup", "SubscriptionId"] if _on_azure(rule) else []
    members = ["Members"] if rule.distinct else []
    return [*DETAILS, *resource, *_caller_columns(rule), *members, *alert.details]


def _description(rule: Rule, alert: Alert) -> str:
    joined = ", the second trigger joined" if rule.requires == "any" and len(rule.thresholds) > 1 else ""
    again = (
        ""
        if rule.first_seen_only
        else f", and once more each time it escalates: a value doubled{joined}, or the severity rose"
    )
    says = " ".join(alert.says.split())
    return (
        f"Raises an alert when the LLM abuse detector opens an episode: {says} "
        f"The alert comes once for an episode{again}."
    )


def _each_reason(rule: Rule) -> str:
    """Return what was reached, a text for each trigger that a finding can have; the first that fired stands first."""
    *named, last = rule.thresholds
    lines = []
    for place in range(len(rule.thresholds)):
        trigger, told = f"Triggers[{place}]", f'"{last.unit}"'
        for threshold in reversed(named):
            told = f'iff(tostring({trigger}.Name) == "{threshold.name}", "{threshold.unit}", {told})'
        value = f'tostring(tolong({trigger}.Value)), " (fires at ", tostring({trigger}.Threshold), ")"'
        lines += [f"      Reason{place + 1} = strcat(", f'          {told}, ": ",', f"          {value}),"]
    return "\n".join(lines)


def _reasons(rule: Rule) -> str:
    """Join the reasons of the triggers that a finding has."""
    others = (
        f'iff(array_length(Triggers) > {place}, strcat("; ", Reason{place + 1}), "")'
        for place in range(1, len(rule.thresholds))
    )
    members = ['": ", TopMembers'] if rule.distinct else []
    return ", ".join(["Reason1", *others, *members])


def _who(rule: Rule) -> str:
    if not _on_aws(rule):
        return f'". Callers{" with their bytes" if rule.needs_bytes_by_caller else ""}: ", TopCallers'
    told = {"ModelId": '". Model: ", ModelId', "Violations": '". Policies: ", Violations'}
    more = [text for name, text in told.items() if name in rule.group_fields]
    return ", ".join(['". User: ", UserArn, ". AWS account: ", AwsAccountId', *more])


def _entities(rule: Rule) -> str:
    """Map the Azure account and its callers. An ARN is an account's name, which Sentinel shows and cannot resolve."""
    if _on_aws(rule):
        return _ENTITY.format("Account", "Name", "UserArn")
    callers = (_ENTITY.format("Account", "AadUserId", column) for column in _caller_columns(rule))
    accounts = [_ENTITY.format("AzureResource", "ResourceId", "ResourceId")] if _on_azure(rule) else []
    return "\n".join([*accounts, *callers])


def _listed(names: Iterable[str]) -> str:
    return "\n".join(f"  - {name}" for name in names)


def _wrapped(text: str, margin: str) -> str:
    return fill(text, _WIDTH, initial_indent=margin, subsequent_indent=margin)


if __name__ == "__main__":
    for each in CATALOGUE:
        if each.alert:
            path(each.id).write_text(render(each, each.alert))
            if each.alert.hunt:
                hunting_queries.path(each.id).write_text(hunting_queries.render(each, each.alert, each.alert.hunt))
    content.FILE.write_text(content.render())
