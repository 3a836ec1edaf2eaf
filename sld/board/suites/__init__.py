"""Tasks that are fetched on request, and the hub that has them."""
