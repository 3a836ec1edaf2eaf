"""Pages that open from disk: markup that escapes, charts, formulas and tables in HTML; who uses them stands above."""
