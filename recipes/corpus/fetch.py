"""Fetches the source packages that `sources.csv` names, by their registries' ordinary clients.

A wheel, an npm tarball and a Debian source package are read as archives: nothing of a package is
built or run. Only source, licence and metadata files are unpacked, never a link, never outside the
package's own folder.

Usage: python recipes/corpus/fetch.py OUT [--jobs 4] [--only PACKAGE ...]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

SOURCES = Path(__file__).with_name("sources.csv")
SUFFIXES = frozenset(
    f".{ending}"
    for ending in [
        "py",
        "js",
        "mjs",
        "cjs",
        "jsx",
        "java",
        "go",
        "php",
        "rb",
        "cs",
        "c",
        "h",
        "cc",
        "cpp",
        "cxx",
        "hh",
        "hpp",
    ]
)
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|copyright|notice)[^/]*|metadata|package\.json", re.IGNORECASE)
MAX_FILE_BYTES = 2_000_000
MAX_PACKAGE_BYTES = 1_000_000_000


def read_sources(path: Path = SOURCES) -> list[dict[str, str]]:
    """Reads the table of packages; one dict a row, by column name."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def package_folder(root: Path, source: dict[str, str]) -> Path:
    """Where a package lies below `root`."""
    return root / source["registry"] / source["package"].replace("/", "__")


def wanted(name: str) -> PurePosixPath | None:
    """The safe relative path of an archive member that is worth keeping, or None.

    >>> wanted("pkg-1.0/src/a.py")
    PurePosixPath('pkg-1.0/src/a.py')
    >>> wanted("../../etc/a.py"), wanted("/etc/a.py"), wanted("pkg/a.png")
    (None, None, None)
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or len(name) > 400:
        return None
    if path.suffix.lower() in SUFFIXES or LICENCE_FILE.fullmatch(path.name):
        return path
    return None


def archive_members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields the wanted regular files of a tar or zip archive; links and devices are left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                path = wanted(info.filename)
                if path and not info.is_dir() and info.file_size <= MAX_FILE_BYTES:
                    yield path, bundle.read(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            path = wanted(member.name)
            if path and member.isreg() and member.size <= MAX_FILE_BYTES:
                stream = tar.extractfile(member)
                assert stream is not None  # a regular member always has a stream
                yield path, stream.read()


def unpack(archive: Path, *, folder: Path) -> int:
    """Unpacks the wanted files of an archive below `folder`.

    Returns:
        Bytes written.

    Raises:
        ValueError: The archive holds more than `MAX_PACKAGE_BYTES` of source.
    """
    written = 0
    for path, content in archive_members(archive):
        written += len(content)
        if written > MAX_PACKAGE_BYTES:
            raise ValueError(f"{archive.name}: more than {MAX_PACKAGE_BYTES} bytes of source")
        target = folder / path
        if target.exists():  # names that differ by case only, or a file where a folder was
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return written


def copyright_of_diff(diff: Path) -> str:
    """The `debian/copyright` that an old-format source package adds by its `.diff.gz`."""
    lines: list[str] = []
    inside = False
    with gzip.open(diff, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("+++ "):
                inside = line.split()[1].endswith("/debian/copyright")
            elif inside and line.startswith("+"):
                lines.append(line[1:])
    return "".join(lines)


def apt_options(state: Path) -> list[str]:
    """Options that let apt see source packages, without a change to the system's own settings.

    The system's sources are copied to `state` with source packages turned on, and indexed there.
    """
    sources = state / "sources"
    for folder in (sources, state / "lists/partial", state / "cache/archives/partial"):
        folder.mkdir(parents=True, exist_ok=True)
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.suffix == ".sources":
            text = re.sub(r"^Types:.*$", "Types: deb deb-src", path.read_text(), flags=re.MULTILINE)
        elif path.suffix == ".list" and path.exists():
            text = re.sub(r"^deb ", "deb-src ", path.read_text(), flags=re.MULTILINE)
        else:
            continue
        (sources / path.name).write_text(text)
    values = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": sources,
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
    }
    options = [word for key, value in values.items() for word in ("-o", f"{key}={value}")]
    subprocess.run(["apt-get", *options, "update"], check=True, stdout=subprocess.DEVNULL)
    return options


def download(source: dict[str, str], *, into: Path, apt: list[str]) -> None:
    """Downloads one package's archives into a folder with its registry's client.

    A Debian mirror may have dropped the packaging (`debian.tar`) of a version: upstream's own archive,
    checked by apt like every other, is enough, as it carries the licence too.

    Raises:
        OSError: The client found no such package or version.
        ValueError: The registry's name is unknown.
    """
    name, version = source["package"], source["version"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    commands = {
        "pypi": [*pip, f"{name}=={version}"],
        "npm": ["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}"],
        "debian": ["apt-get", "-qq", *apt, "source", "--download-only", f"{name}={version}"],
        "debian-binary": ["apt-get", "-qq", *apt, "download", f"{name}={version}"],
    }
    if source["registry"] not in commands:
        raise ValueError(f"registry must be cpython or one of {sorted(commands)}, got {source['registry']!r}")
    done = subprocess.run(commands[source["registry"]], cwd=into, capture_output=True, text=True)
    if done.returncode and not list(into.glob("*.orig*.tar.*[!c]")):
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "its client failed")


def fetch(source: dict[str, str], *, root: Path, apt: list[str]) -> str:
    """Fetches and unpacks one package below `root`; a package already there is left as it is.

    Returns:
        One line for the log.
    """
    folder = package_folder(root, source)
    if folder.exists():
        return f"{source['package']}: already there"
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    written = 0
    if source["registry"] == "cpython":
        library = Path(sysconfig.get_path("stdlib"))
        for path in sorted(library.rglob("*.py")):
            relative = path.relative_to(library)
            if relative.parts[0] not in {"site-packages", "dist-packages"}:
                (part / relative).parent.mkdir(parents=True, exist_ok=True)
                written += (part / relative).write_bytes(path.read_bytes())
    else:
        with tempfile.TemporaryDirectory() as name:
            download(source, into=Path(name), apt=apt)
            for archive in sorted(Path(name).iterdir()):
                if archive.name.endswith(".diff.gz"):
                    (part / "debian").mkdir(exist_ok=True)
                    (part / "debian/copyright").write_text(copyright_of_diff(archive))
                elif archive.suffix == ".deb":
                    files = archive.with_suffix(".tar")
                    with files.open("wb") as stream:
                        subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, stdout=stream)
                    written += unpack(files, folder=part)
                elif zipfile.is_zipfile(archive) or tarfile.is_tarfile(archive):
                    written += unpack(archive, folder=part)
    part.rename(folder)
    return f"{source['package']} {source['version']}: {written / 1e6:.1f} MB of source"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=None, metavar="PACKAGE")
    options = parser.parse_args()
    by_package = {(row["registry"], row["package"]): row for row in read_sources()}
    sources = [row for row in by_package.values() if options.only is None or row["package"] in options.only]
    needs_apt = any(row["registry"].startswith("debian") for row in sources)
    apt = apt_options(options.out.resolve() / "apt") if needs_apt else []

    def attempt(source: dict[str, str]) -> str:
        try:
            return fetch(source, root=options.out, apt=apt)
        except (subprocess.CalledProcessError, OSError, ValueError, tarfile.TarError) as error:
            return f"FAILED {source['package']}: {error}"

    with ThreadPoolExecutor(options.jobs) as pool:
        for line in pool.map(attempt, sources):
            print(line, flush=True)


if __name__ == "__main__":
    main()
