"""Data sets: one format on disk, what is read into it and what is written from it."""
