"""What a table allows before any formula is tried: broken runs, effects that cannot be told apart, too few points."""
