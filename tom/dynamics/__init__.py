"""What is fitted: models of reward and next state."""
