"""PACOH-RL (Bhardwaj et al., 2024): a prior over networks learned on many tasks, adapted to new ones, planned with."""
