"""From the shell to the first line of help."""

from __future__ import annotations

import statistics
import subprocess
import sys

from _race import Result, quick, race, spread, write


def main() -> None:
    words = [sys.executable, "-m", "codeft.train", "--help"]
    seconds = race(
        {"codeft": lambda: subprocess.run(words, check=True, capture_output=True)}, rounds=2 if quick() else 7
    )
    value = statistics.median(seconds["codeft"])
    result = Result(
        "python -m codeft.train --help", "none", value, " s", "<= 3 s", value <= 3, spread(seconds)
    )
    write("start_up", [result], data="no data")


if __name__ == "__main__":
    main()
