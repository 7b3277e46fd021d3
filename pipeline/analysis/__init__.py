"""What tables and figures share: reading results, statistics, looks. Knows neither torch nor tom."""
