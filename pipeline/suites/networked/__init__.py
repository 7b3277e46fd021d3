"""Networks of agents: DMPO on platoons, with and without a model, beside rules that do not learn."""
