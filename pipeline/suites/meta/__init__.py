"""The suite `meta`: a prior learned on a family's tasks, adapted to new ones, beside models of all tasks together."""
