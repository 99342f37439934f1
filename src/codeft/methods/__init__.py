"""What plugs into training: one callback a method."""
