"""Waiting for other processes: bounds that only what hangs for good can reach, on a loaded machine too."""

from __future__ import annotations

LONGEST_WAIT = 1200
"""Seconds. A test that is right never comes near; one that hangs ends here."""
