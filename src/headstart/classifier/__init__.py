"""The classifier: built from graph and head, verified, and used without torch."""
