"""Figure 2: Road-and-Rocks, from settings to tables and the figure."""
