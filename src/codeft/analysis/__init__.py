"""What trained models are compared by: representations and sweeps."""
