"""Settings, one file per part of this kind."""
