"""How much to train: what the frozen depths can do (probe)."""
