"""Learning curves (Ma et al., 2023, Figure 3): the grid of methods, environments and seeds."""
