"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public evaluation data beside the checkout; what needs it skips where it isn't there."""
    path = Path(os.environ.get("CODEFT_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no evaluation data at {path}; set CODEFT_SHARED_DATA to its folder")
    return path
