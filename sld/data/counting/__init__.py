"""Parameters and FLOPs of a model from its configuration: one small file per family, one row each in `registry`."""
