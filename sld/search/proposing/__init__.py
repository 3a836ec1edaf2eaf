"""Whatever suggests formulas: enumeration, evolution, published laws, other engines."""
