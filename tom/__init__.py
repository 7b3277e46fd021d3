"""Transition occupancy matching (Ma et al., 2023) for model-based reinforcement learning."""
