"""Settings of the families of tasks, one file each, named like the files of tom/families."""
