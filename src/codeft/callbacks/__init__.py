"""The run's own housekeeping: what every run needs, whatever its task, model and method."""
