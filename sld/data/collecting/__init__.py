"""From attempts of any source to one tidy table: which belong together, what counts, and an account of it."""
