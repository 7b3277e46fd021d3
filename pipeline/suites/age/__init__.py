"""The mean weight by age of the data, in training (Ma et al., 2023, Appendix D)."""
