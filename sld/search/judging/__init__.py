"""One proposal judged: fits on lower rungs, errors on higher ones, checks far beyond the data."""
