"""How long the parts of a training take here, and what they could not take less than."""
