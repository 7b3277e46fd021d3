"""What the paper shows beside the learning curves: Road-and-Rocks (Figure 2) and the curated buffer (Figure 4)."""
