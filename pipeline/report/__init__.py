"""The page, its tables and figures, and the dashboard in W&B."""
