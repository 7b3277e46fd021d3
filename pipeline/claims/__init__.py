"""Each claim of the paper, what is measured of it, and the verdict."""
