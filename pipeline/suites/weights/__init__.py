"""The suite `weights`: how a weighting weighs random transitions and SAC's replay (Ma et al., 2023, Figure 4)."""
