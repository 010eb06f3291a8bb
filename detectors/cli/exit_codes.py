"""What `llm-detector` exits with."""

DONE = 0
NOT_IN_ORDER = 1
"""The call was right, and what it asked about is not in order, such as settings with problems."""

USAGE_ERROR = 2
"""The call was wrong, or its input cannot be read."""

INTERRUPTED = 130
"""As shells have it of a program that Ctrl-C ended."""
