"""Families of tasks: worlds that differ in their dynamics alone, drawn by seed; a file each, which offers `build`."""
