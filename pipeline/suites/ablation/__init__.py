"""The suite `ablation`: what each switch between two methods does alone, so that their difference is attributed."""
