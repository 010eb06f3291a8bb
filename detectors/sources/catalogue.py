"""Every log source. A new source is a module and a line here."""

from detectors.sources import aws_bedrock, aws_cloudtrail, azure_activity, azure_openai
from detectors.sources.source import LogSource

SOURCES: tuple[LogSource, ...] = (
    aws_bedrock.SOURCE,
    aws_cloudtrail.SOURCE,
    azure_activity.SOURCE,
    azure_openai.SOURCE,  # last, as any other record of Azure Monitor passes for one of its
)
"""In the order in which they are asked whether a record is theirs."""

BY_NAME: dict[str, LogSource] = {source.name: source for source in SOURCES}
