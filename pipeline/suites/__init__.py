"""What is made of runs: a room per table and figure, each with its cells, work, tables and figure."""
