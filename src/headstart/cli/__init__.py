"""The command line: parse, call the API, print."""

import headstart.clock  # noqa: F401 - first of all: where the kernel does not say when a process began, this counts
