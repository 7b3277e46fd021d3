"""Settings of experiments beside the grid, one file each."""
