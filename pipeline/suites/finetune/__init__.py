"""The suite `finetune`: agents that learn from somebody else's data first, then go on online."""
