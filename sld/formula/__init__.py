"""Formulas: the tree, the grammar, canonical keys, and how people read them; knows no data."""
