"""The rows of the sample, a file a task or two."""
