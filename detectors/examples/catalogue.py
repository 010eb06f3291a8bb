"""The writer of every log source."""

from detectors.examples import aws_bedrock, azure_openai
from detectors.examples.writer import RecordWriter
from detectors.sources import aws_bedrock as bedrock_source
from detectors.sources import azure_openai as azure_source

WRITERS: dict[str, RecordWriter] = {
    azure_source.NAME: azure_openai.WRITER,
    bedrock_source.NAME: aws_bedrock.WRITER,
}
