"""Clusters of three nodes on this machine, and what is done to them while they train a grid."""
