"""How much each stored transition counts."""
