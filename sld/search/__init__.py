"""Proposes formulas, judges them by extrapolation, remembers the best."""
