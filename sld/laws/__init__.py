"""Laws: a formula with fitted constants, how it was fitted, and the published ones."""
