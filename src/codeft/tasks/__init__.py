"""Code tasks, one file each."""
