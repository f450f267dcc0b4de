"""Embedding and training beyond one process: chunks, a ledger, workers (extra `[scale]`)."""
