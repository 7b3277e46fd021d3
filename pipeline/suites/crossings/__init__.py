"""The suite `crossings`: every weighting with every loss and backbone, each against uniform weights of the same two."""
