"""Makes the pre-training corpus out of the fetched packages: whole files and functions, each code once.

Left out are repositories that an evaluation set names, files under other than permissive licences, copies and
near duplicates, and functions that nearly duplicate one of the evaluation sets or of a held-out package, with
or without their names. What was mined is kept in OUT/mined, package by package, and isn't mined again.

Usage: python recipes/corpus/pretrain.py FETCHED OUT --evaluation DATA
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from candidates import Candidate, cache_path, keep_candidates, kept_candidates
from decontamination import NEAR_DUPLICATE, Decontamination
from evaluation import comparable, evaluation_repositories, is_evaluated
from fetch import read_sources
from licences import ALLOWED_LICENCES
from readable import readable_files

from codeft.data.near_duplicates import NearDuplicateIndex

MAX_BYTES_PER_LANGUAGE = 20_000_000
MAX_BYTES_READ = 34_000_000  # of source files in one language
VALID_BYTES_PER_LANGUAGE = 250_000
MAX_COPIED = 0.2  # of a whole file's functions, by characters, may nearly duplicate functions before it

Row = dict[str, str]


def reading_limits(sources: list[dict[str, str]], *, root: Path) -> list[int]:
    """How many bytes to read of each row's files, so that no language goes beyond `MAX_BYTES_READ`.

    Packages smaller than their language's limit are read whole and leave more to the larger ones. Packages
    that aren't trained on are read whole.
    """
    limits = [2**62] * len(sources)
    for languages in sorted({source["languages"] for source in sources}):
        rows = [
            (sum(readable_files(root, source=source).values()), place)
            for place, source in enumerate(sources)
            if source["languages"] == languages and "pretrain" in source["role"].split()
        ]
        left = MAX_BYTES_READ
        for rank, (size, place) in enumerate(sorted(rows)):
            limits[place] = left // (len(rows) - rank)
            left -= min(size, limits[place])
    return limits


def in_turns(items: Iterable[Candidate], *, seed: int) -> Iterator[Candidate]:
    """Yield files in a random order, always one of the repository that has given the least bytes so far.

    A repository with few files gives all of them, and the large ones share the rest.
    """
    by_repo: dict[str, list[Candidate]] = defaultdict(list)
    for item in items:
        by_repo[item.repo].append(item)
    order = random.Random(seed)
    given: dict[str, int] = {}
    for repo in sorted(by_repo):
        order.shuffle(by_repo[repo])
        given[repo] = 0
    while given:
        repo = min(given, key=lambda name: (given[name], name))
        item = by_repo[repo].pop()
        given[repo] += len(item.whole) or sum(len(piece.text) for piece in item.pieces)
        if not by_repo[repo]:
            del given[repo]
        yield item


class Selection:
    """Rows chosen out of files one after the other, so that no code gets in twice.

    Args:
        decontamination: What must not get in.
        max_bytes: Where to stop.

    Attributes:
        rows: What was chosen.
        left_out: Counts what wasn't, by reason.
    """

    def __init__(self, decontamination: Decontamination, *, max_bytes: int) -> None:
        self.decontamination = decontamination
        self.left = max_bytes
        self.rows: list[Row] = []
        self.left_out: Counter[str] = Counter()
        self._functions = NearDuplicateIndex(threshold=NEAR_DUPLICATE)
        self._files = NearDuplicateIndex(threshold=NEAR_DUPLICATE)

    def offer(self, item: Candidate) -> None:
        """Take a file whole or as its functions, or what is new of it, or nothing.

        A file that was to go whole goes as functions where one of them is contaminated or where too much of
        it is there already; so nothing contaminated gets in, and the rest of the file isn't lost.
        """
        compared = [comparable(piece.code, item.language) for piece in item.pieces]
        clean = []
        for piece, text in zip(item.pieces, compared, strict=True):
            reason = self.decontamination.reason(text)
            if reason:
                self.left_out[f"functions: contaminated with {reason}"] += 1
            else:
                clean.append((piece, text))
        if item.whole and self._is_new(item, compared, is_clean=len(clean) == len(compared)):
            for _, text in clean:
                self._functions.add("whole", text)
            self._take(item, {"text": item.whole, "kind": "file"})
            return
        for piece, text in clean:
            if not piece.text:
                continue
            if self._functions.add_unless_duplicate("function", text):
                self.left_out["functions: near duplicate"] += 1
                continue
            documented = {"code": piece.code, "docstring": piece.docstring} if piece.docstring else {}
            self._take(item, {"text": piece.text, "kind": "function"} | documented)

    def _is_new(self, item: Candidate, compared: list[str], *, is_clean: bool) -> bool:
        """Whether a file may go whole; counts the reason where it may not."""
        if not is_clean:
            self.left_out["whole files: a function is contaminated"] += 1
            return False
        sizes = [len(text) for text in compared]
        copied = [size for size, text in zip(sizes, compared, strict=True) if self._functions.query(text)]
        if sum(copied) > MAX_COPIED * sum(sizes):
            self.left_out["whole files: functions are there already"] += 1
            return False
        if self._files.add_unless_duplicate("whole", comparable(item.whole, item.language)):
            self.left_out["whole files: near duplicate"] += 1
            return False
        return True

    def _take(self, item: Candidate, row: Row) -> None:
        place = {"language": item.language, "repo": item.repo, "licence": item.licence, "path": item.path}
        self.rows.append({"text": row["text"]} | place | row)
        self.left -= len(row["text"].encode("utf-8", "replace"))


def select(
    language: str, *, sources: list[dict[str, str]], kept: Path, data: Path
) -> tuple[list[Row], list[Row], dict[str, int], dict[str, int]]:
    """Choose one language's part of the corpus.

    Returns:
        The rows to train on and those to validate on; what was left out why; and the rows of each evaluation
        set compared with.
    """
    training: list[Candidate] = []
    held_out: list[Candidate] = []
    never_read: list[Candidate] = []
    for source in sources:
        roles = source["role"].split()
        if language not in _possible(source):
            continue
        items, _ = kept_candidates(cache_path(kept, source))
        part = training if "pretrain" in roles else held_out if "held-out" in roles else never_read
        part += items
    training = [item for item in training if item.language == language]
    decontamination = Decontamination(data, language=language)
    decontamination.hold_out(never_read)
    valid = Selection(decontamination, max_bytes=VALID_BYTES_PER_LANGUAGE)
    fill(valid, [item for item in held_out if item.language == language], seed=1)
    decontamination.hold_out(held_out)
    train = Selection(decontamination, max_bytes=MAX_BYTES_PER_LANGUAGE)
    fill(train, training, seed=0)
    return train.rows, valid.rows, dict(train.left_out), dict(train.decontamination.num_rows)


def fill(selection: Selection, items: list[Candidate], *, seed: int) -> None:
    """Offer files in turns until the selection is full; counts the others."""
    for place, item in enumerate(in_turns(items, seed=seed)):
        if selection.left <= 0:
            selection.left_out["files: language is full"] += len(items) - place
            break
        selection.offer(item)


def _possible(source: dict[str, str]) -> set[str]:
    """The languages that a row's files may turn out to be in: a `.h` file is C or C++."""
    languages = set(source["languages"].split())
    return languages | ({"c", "cpp"} if languages & {"c", "cpp"} else set())


def write(path: Path, rows: list[Row]) -> None:
    """Writes rows as compressed JSON lines; the same rows make the same bytes."""
    part = path.with_suffix(".part")
    with (
        part.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=6, filename="") as file,
    ):
        for row in rows:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    part.replace(path)


def statistics(rows: list[Row]) -> dict[str, object]:
    """Count rows and bytes by language, kind, licence and repository."""
    keys = ("language", "kind", "licence", "repo")
    counts: dict[str, dict[str, Counter[str]]] = {
        key: {"rows": Counter(), "bytes": Counter()} for key in keys
    }
    num_bytes = 0
    for row in rows:
        size = len(row["text"].encode("utf-8", "replace"))
        num_bytes += size
        for key in keys:
            counts[key]["rows"][row[key]] += 1
            counts[key]["bytes"][row[key]] += size
    documented = sum("docstring" in row for row in rows)
    return {"rows": len(rows), "bytes": num_bytes, "documented functions": documented} | {
        f"by {key}": {
            name: {"rows": num_rows, "bytes": both["bytes"][name]}
            for name, num_rows in sorted(both["rows"].items())
        }
        for key, both in counts.items()
    }


def permitted_sources(data: Path) -> Iterator[dict[str, str]]:
    """Yield the table's rows; raises where one is under another licence or is an evaluation set's."""
    repositories = evaluation_repositories(data)
    for source in read_sources():
        if source["licence"] not in ALLOWED_LICENCES:
            raise ValueError(f"{source['package']}: {source['licence']} isn't among the permitted licences")
        if is_evaluated(source["upstream"], repositories=repositories):
            raise ValueError(f"{source['package']}: an evaluation set names {source['upstream']}")
        yield source


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("fetched", type=Path, help="what fetch.py wrote")
    parser.add_argument("out", type=Path, help="folder for the corpus")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of the evaluation sets")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--statistics", type=Path, default=Path(__file__).with_name("statistics.json"), help="where to count"
    )
    options = parser.parse_args()
    sources = list(permitted_sources(options.evaluation))
    limits = reading_limits(sources, root=options.fetched)
    kept = options.out / "mined"
    kept.mkdir(parents=True, exist_ok=True)
    train: list[Row] = []
    valid: list[Row] = []
    left_out: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        largest_first = sorted(zip(limits, sources, strict=True), key=lambda pair: -pair[0])
        mining = [
            pool.submit(keep_candidates, source, limit, root=options.fetched, folder=kept)
            for limit, source in largest_first
        ]
        for done, job in enumerate(as_completed(mining), 1):
            print(f"[{done}/{len(mining)}] {job.result()}", flush=True)
        for source in sources:
            if "pretrain" in source["role"].split():
                left_out += kept_candidates(cache_path(kept, source))[1]
        languages = sorted({language for source in sources for language in source["languages"].split()})
        choose = partial(select, sources=sources, kept=kept, data=options.evaluation)
        for language, part in zip(languages, pool.map(choose, languages), strict=True):
            rows, held_out, reasons, num_rows = part
            print(f"{language}: {len(rows)} rows, {len(held_out)} held out, {reasons}", flush=True)
            train += rows
            valid += held_out
            left_out.update(reasons)
            compared |= Counter(num_rows)  # C and C++ compare with the same rows
    random.Random(0).shuffle(train)
    random.Random(0).shuffle(valid)
    write(options.out / "pretrain_valid.jsonl.gz", valid)
    write(options.out / "pretrain.jsonl.gz", train)
    report = {
        "train": statistics(train),
        "valid": statistics(valid),
        "left out": dict(sorted(left_out.items())),
        "evaluation rows compared": dict(sorted(compared.items())),
        "evaluation repositories": len(evaluation_repositories(options.evaluation)),
    }
    options.statistics.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
