"""Charts as inline SVG, drawn from data; every one has a title, a description and a table behind it."""
