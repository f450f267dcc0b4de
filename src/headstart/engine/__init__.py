"""Run a graph fast, and feed it from decode threads."""
