"""Who acts and improves."""
