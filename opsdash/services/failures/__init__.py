"""Tasks that failed: what workers have kept of them."""
