"""Whether the Hugging Face hub is there, asked once and quickly."""

from __future__ import annotations

TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""


def ask_hub() -> Exception | None:
    """Ask the hub for its front page; its own client would try again for half a minute.

    Returns:
        None where it answers, else what was raised.
    """
    from huggingface_hub import constants  # a slow import
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # which HTTP library raises depends on the hub client's version
        return error
    return None
