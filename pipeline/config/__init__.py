"""From params.yaml and the command line to the resolved settings of a cell, and to what identifies it."""
