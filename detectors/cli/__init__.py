"""The command line `llm-detector`: a command is a module here with a `command`, and a line in `main.COMMANDS`."""
