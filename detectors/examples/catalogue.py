"""The writer of every log source."""

from detectors.examples import aws_bedrock, aws_cloudtrail, azure_activity, azure_openai
from detectors.examples.writer import RecordWriter
from detectors.sources import aws_bedrock as bedrock_source
from detectors.sources import aws_cloudtrail as cloudtrail_source
from detectors.sources import azure_activity as activity_source
from detectors.sources import azure_openai as azure_source

WRITERS: dict[str, RecordWriter] = {
    azure_source.NAME: azure_openai.WRITER,
    activity_source.NAME: azure_activity.WRITER,
    bedrock_source.NAME: aws_bedrock.WRITER,
    cloudtrail_source.NAME: aws_cloudtrail.WRITER,
}
