"""How wrong a model's prediction is."""
