"""Many pictures: samples, duplicates, series, splits."""
