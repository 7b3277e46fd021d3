"""What every part of an agent is made of: random streams, the replay, networks and their optimiser, the context."""
