"""A classifier over HTTP: an API and a page, for this computer first."""
