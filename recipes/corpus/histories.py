"""Fetches several versions of the packages that `histories.csv` names, for what changed between them.

Usage: python recipes/corpus/histories.py OUT
"""

from __future__ import annotations

import argparse
import csv
import tarfile
import tempfile
from pathlib import Path

from evaluation import evaluation_repositories, is_evaluated
from fetch import download, unpack

HISTORIES = Path(__file__).with_name("histories.csv")


def read_histories(path: Path = HISTORIES) -> list[dict[str, str]]:
    """Reads the table of packages; one dict a package, its `versions` from the oldest to the newest."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def version_folder(root: Path, source: dict[str, str], version: str) -> Path:
    """Where a version of a package lies below `root`."""
    return root / "histories" / source["registry"] / source["package"].replace("/", "__") / version


def fetch_versions(root: Path, source: dict[str, str]) -> None:
    """Fetches and unpacks a package's versions; those already there are left as they are."""
    for version in source["versions"].split():
        folder = version_folder(root, source, version)
        if folder.exists():
            continue
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            download({**source, "version": version}, into=Path(name), apt=[])
            for archive in Path(name).iterdir():
                if tarfile.is_tarfile(archive):
                    unpack(archive, folder=part)
        part.rename(folder)
        print(f"{source['package']} {version}: fetched", flush=True)


def check_histories(data: Path) -> None:
    """Raises where an evaluation set names a package's repository.

    Raises:
        ValueError: One does.
    """
    repositories = evaluation_repositories(data)
    for source in read_histories():
        if is_evaluated(source["upstream"], repositories=repositories):
            raise ValueError(f"{source['package']}: an evaluation set names {source['upstream']}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="what fetch.py wrote, or a new folder")
    options = parser.parse_args()
    for source in read_histories():
        fetch_versions(options.out, source)


if __name__ == "__main__":
    main()
