"""Makes the pre-training corpus out of the fetched packages: functions, deduplicated and decontaminated.

Left out are repositories that an evaluation set names, files under other than permissive licences, copies and
near duplicates, and functions that nearly duplicate one of the evaluation sets or of the sample's validation
and test packages.

Usage: python recipes/corpus/pretrain.py FETCHED OUT --evaluation DATA
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from evaluation import (
    comparable,
    evaluation_files,
    evaluation_functions,
    evaluation_repositories,
    is_evaluated,
)
from fetch import read_sources
from trees import ALLOWED_LICENCES, permissive_functions, tree_bytes

from codeft.data.mining import MAX_DOCSTRING_TOKENS, MIN_DOCSTRING_TOKENS, MiningReport
from codeft.data.near_duplicates import NearDuplicateIndex, shingles
from codeft.syntax.prose import docstring_tokens, first_paragraph

MIN_CHARACTERS, MAX_CHARACTERS = 80, 6_000
MIN_LINES = 3
MAX_BYTES_PER_LANGUAGE = 11_000_000
MAX_BYTES_READ = 30_000_000  # of source files in one language
NEAR_DUPLICATE = 0.75
COVERED = 0.8  # share of a function's shingles found among the completion sets' files
VALID_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function that may enter the corpus."""

    text: str
    code: str
    docstring: str
    compared: str
    language: str
    repo: str
    licence: str


def reading_limits(sources: list[dict[str, str]], *, root: Path) -> list[int]:
    """How many bytes to read of each row's files, so that no language goes beyond `MAX_BYTES_READ`.

    Packages smaller than their language's limit are read whole and leave more to the larger ones.
    """
    limits = [2**62] * len(sources)
    for language in {source["languages"] for source in sources if "pretrain" in source["role"]}:
        rows = [
            (tree_bytes(root, source=source), place)
            for place, source in enumerate(sources)
            if source["languages"] == language and "pretrain" in source["role"]
        ]
        left = MAX_BYTES_READ
        for rank, (size, place) in enumerate(sorted(rows)):
            limits[place] = left // (len(rows) - rank)
            left -= min(size, limits[place])
    return limits


def candidates(
    source: dict[str, str], max_bytes: int, *, root: Path
) -> tuple[list[Candidate], dict[str, int]]:
    """Collect one row's functions of fitting size, each text once, and count what was left out why."""
    report = MiningReport()
    kept: dict[str, Candidate] = {}
    left_out: Counter[str] = Counter()
    for found in permissive_functions(root, source=source, report=report, max_bytes=max_bytes):
        text = found.text.strip()
        if len(text) < MIN_CHARACTERS or text.count("\n") + 1 < MIN_LINES:
            left_out["functions: too short"] += 1
        elif len(text) > MAX_CHARACTERS:
            left_out["functions: too long"] += 1
        elif sum(not character.isascii() for character in text) > 0.05 * len(text):
            left_out["functions: mostly not ASCII"] += 1
        else:
            compared = comparable(found.function.code, found.language)
            item = Candidate(
                text=text,
                code=found.function.code,
                docstring=summary(found.function.docstring),
                compared=compared,
                language=found.language,
                repo=source["upstream"],
                licence=source["licence"],
            )
            if kept.setdefault(" ".join(compared.split()), item) is not item:
                left_out["functions: exact duplicate"] += 1
    for reason, count in report.skipped_files.items():
        left_out[f"files: {reason}"] += count
    return list(kept.values()), dict(left_out)


def summary(docstring: str) -> str:
    """Return a docstring's first paragraph; "" where that is too short or long to be worth generating."""
    paragraph = first_paragraph(docstring)
    num_tokens = len(docstring_tokens(paragraph))
    return paragraph if MIN_DOCSTRING_TOKENS <= num_tokens <= MAX_DOCSTRING_TOKENS else ""


def balanced(items: list[Candidate], *, budget: int, seed: int) -> list[Candidate]:
    """Choose functions of one language up to a budget of bytes, every repository in turn giving one.

    A repository with few functions gives all of them, and the large ones share the rest.
    """
    by_repo: dict[str, list[Candidate]] = defaultdict(list)
    for item in items:
        by_repo[item.repo].append(item)
    order = random.Random(seed)
    for members in by_repo.values():
        order.shuffle(members)
    chosen: list[Candidate] = []
    size = 0
    while by_repo and size < budget:
        for repo in list(by_repo):
            item = by_repo[repo].pop()
            if not by_repo[repo]:
                del by_repo[repo]
            chosen.append(item)
            size += len(item.text.encode())
    return chosen


class Decontamination:
    """What must not get into training: evaluation functions and files, and the sample's held-out packages."""

    def __init__(self, data: Path, *, language: str, held_out: list[Candidate]) -> None:
        close = {language, *({"c", "cpp"} if language in ("c", "cpp") else ())}
        self.functions = NearDuplicateIndex(threshold=NEAR_DUPLICATE)
        self.num_rows: Counter[str] = Counter()
        for name, row_language, code in evaluation_functions(data):
            if row_language in close:
                self.functions.add(name, comparable(code, row_language))
                self.num_rows[f"{name} ({row_language})"] += 1
        for item in held_out:
            if item.language in close:
                self.functions.add("the sample's valid and test packages", item.compared)
        pieces = [np.zeros(0, dtype=np.uint64)]
        for name, row_language, text in evaluation_files(data):
            if row_language in close:
                pieces.append(shingles(comparable(text, row_language)))
                self.num_rows[f"{name} ({row_language})"] += 1
        self.file_shingles = np.unique(np.concatenate(pieces))

    def reason(self, item: Candidate) -> str:
        """Return what a function contaminates; "" for none."""
        matches = self.functions.query(item.compared)
        if matches:
            return str(matches[0].key)
        if len(self.file_shingles):
            hashes = shingles(item.compared)
            places = np.searchsorted(self.file_shingles, hashes).clip(max=len(self.file_shingles) - 1)
            if (self.file_shingles[places] == hashes).mean() >= COVERED:
                return "javaCorpus" if item.language == "java" else "py150"
        return ""


def select(
    language: str, *, items: list[Candidate], data: Path, held_out: list[Candidate]
) -> tuple[list[Candidate], dict[str, int], dict[str, int]]:
    """Choose one language's part of the corpus.

    Returns:
        The functions, in random order; what was left out why; and the rows of each evaluation set compared.
    """
    decontamination = Decontamination(data, language=language, held_out=held_out)
    index = NearDuplicateIndex(threshold=NEAR_DUPLICATE)
    left_out: Counter[str] = Counter()
    kept: list[Candidate] = []
    size = 0
    chosen = balanced(items, budget=2 * MAX_BYTES_PER_LANGUAGE, seed=0)
    for item in chosen:
        if size >= MAX_BYTES_PER_LANGUAGE:
            break
        contaminated = decontamination.reason(item)
        if contaminated:
            left_out[f"functions: contaminated with {contaminated}"] += 1
        elif index.add_unless_duplicate(len(kept), item.compared):
            left_out["functions: near duplicate"] += 1
        else:
            kept.append(item)
            size += len(item.text.encode())
    left_out["functions: language is full"] += len(items) - len(kept) - sum(left_out.values())
    return kept, dict(left_out), dict(decontamination.num_rows)


def write(path: Path, items: list[Candidate]) -> None:
    """Writes rows as compressed JSON lines; the same rows make the same bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=6, filename="") as file,
    ):
        for item in items:
            row = {"text": item.text, "language": item.language, "repo": item.repo, "licence": item.licence}
            if item.docstring:
                row |= {"code": item.code, "docstring": item.docstring}
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def statistics(items: list[Candidate]) -> dict[str, object]:
    """Count rows and bytes by language, licence and repository."""
    counts: dict[str, dict[str, Counter[str]]] = {
        key: {"rows": Counter(), "bytes": Counter()} for key in ("language", "licence", "repo")
    }
    for item in items:
        size = len(item.text.encode())
        for key, value in (("language", item.language), ("licence", item.licence), ("repo", item.repo)):
            counts[key]["rows"][value] += 1
            counts[key]["bytes"][value] += size
    num_bytes = sum(counts["language"]["bytes"].values())
    return {"rows": len(items), "bytes": num_bytes} | {
        f"by {key}": {
            name: {"rows": rows, "bytes": both["bytes"][name]} for name, rows in sorted(both["rows"].items())
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
    options = parser.parse_args()
    sources = list(permitted_sources(options.evaluation))
    limits = reading_limits(sources, root=options.fetched)
    left_out: Counter[str] = Counter()
    training: list[Candidate] = []
    held_out: list[Candidate] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for source, (items, reasons) in zip(
            sources, pool.map(partial(candidates, root=options.fetched), sources, limits), strict=True
        ):
            print(f"{source['package']} {source['folder']}: {len(items)} functions", flush=True)
            if "pretrain" in source["role"].split():
                training += items
                left_out.update(reasons)
            else:
                held_out += items
        languages = sorted({item.language for item in training})
        parts = [[item for item in training if item.language == language] for language in languages]
        jobs = [
            pool.submit(select, language, items=part, data=options.evaluation, held_out=held_out)
            for language, part in zip(languages, parts, strict=True)
        ]
        corpus: list[Candidate] = []
        compared: Counter[str] = Counter()
        for language, job in zip(languages, jobs, strict=True):
            kept, reasons, num_rows = job.result()
            print(f"{language}: {len(kept)} functions kept, {reasons}", flush=True)
            corpus += kept
            left_out.update(reasons)
            compared |= num_rows  # C and C++ compare with the same rows
    random.Random(0).shuffle(corpus)
    num_valid = int(VALID_SHARE * len(corpus))
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "pretrain_valid.jsonl.gz", corpus[:num_valid])
    write(options.out / "pretrain.jsonl.gz", corpus[num_valid:])
    report = {
        "train": statistics(corpus[num_valid:]),
        "valid": statistics(corpus[:num_valid]),
        "left out": dict(sorted(left_out.items())),
        "evaluation rows compared": dict(sorted(compared.items())),
        "evaluation repositories": len(evaluation_repositories(options.evaluation)),
    }
    Path(__file__).with_name("statistics.json").write_text(
        json.dumps(report, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
