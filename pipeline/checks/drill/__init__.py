"""The fault drill: everything that can go wrong with a run, done to real runs."""
