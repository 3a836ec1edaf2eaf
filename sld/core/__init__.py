"""Tables, formulas, fits and scores; knows nothing of searching."""
