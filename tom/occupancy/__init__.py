"""The dual of transition occupancy matching (Ma et al., 2023, section 4): log-ratio, divergences, Q, weights."""
