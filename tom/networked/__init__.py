"""Networks of agents: decentralised model-based policy optimisation (DMPO), from graph to loop."""
