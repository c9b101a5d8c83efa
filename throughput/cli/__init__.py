"""The ``throughput`` command: a table of contents. Each command is one file, imported when it is called."""
