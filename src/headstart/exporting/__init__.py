"""A classifier for use without headstart: written as a folder, proved on the user's own pictures, or not at all."""
