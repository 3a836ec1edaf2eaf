"""Curves: a value along a run, along data, along samples; and scores that follow a loss."""
