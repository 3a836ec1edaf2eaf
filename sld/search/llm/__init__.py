"""A language model as one more source of formulas; optional, and no part of the search depends on it."""
