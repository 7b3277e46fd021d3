"""One run, from its settings to a finished folder: training, records, checkpoints, interruptions, provenance."""
