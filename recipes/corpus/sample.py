"""Makes the sample that comes with codeft: documented functions in nine languages, and Java/C# pairs.

Every split has repositories of its own, and no function nearly duplicates another one of the sample or of the
evaluation sets.

Usage: python recipes/corpus/sample.py FETCHED --evaluation DATA
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evaluation import comparable, evaluation_functions
from fetch import read_sources
from parallel import Pair, parallel_methods
from pretrain import permitted_sources
from trees import permission, tree_bytes, tree_roots

from codeft.data.mining import MiningReport, code_tokens, mine_functions
from codeft.data.near_duplicates import NearDuplicateIndex
from codeft.syntax.languages import LANGUAGES

ASSETS = Path(__file__).parents[2] / "src/codeft/assets/sample"
NUM_ROWS = {"train": 2000, "valid": 200, "test": 200}
MAX_BYTES_READ = 4_000_000  # of one package
MIN_CODE_TOKENS, MAX_CODE_TOKENS = 20, 240
MIN_SUMMARY_TOKENS, MAX_SUMMARY_TOKENS = 5, 40
NEAR_DUPLICATE = 0.7
MAX_SAME_SUMMARY = 2
_PROSE = re.compile(r"[A-Z][a-z]*[ ,'-].*[a-z]", re.DOTALL)
_INSIDE = re.compile(r"^external/[^/]+/")
_INSTALLED = re.compile(
    r"usr/(share|lib)/(gocode/src(/[^/]+){3}|php|ruby/vendor_ruby|(rubygems-integration/all|ruby)/gems/[^/]+)/"
)

Row = dict[str, Any]


class Novelty:
    """Which functions are new: not in the evaluation sets, and not nearly in the sample so far."""

    def __init__(self, data: Path) -> None:
        self.indexes = {name: NearDuplicateIndex(threshold=NEAR_DUPLICATE) for name in LANGUAGES}
        for name, language, code in evaluation_functions(data):
            self.indexes[language].add(name, comparable(code, language))

    def admits(self, code: str, language: str) -> bool:
        """Whether a function is new; it is remembered if so."""
        text = comparable(code, language)
        return self.indexes[language].add_unless_duplicate("sample", text) is None


def documented_rows(root: Path, *, source: dict[str, str], split: str) -> Iterator[Row]:
    """Yield a package's functions of fitting length with a sentence for a summary."""
    share = min(1.0, MAX_BYTES_READ / max(1, tree_bytes(root, source=source)))
    for folder in tree_roots(root, source):
        rows = mine_functions(
            folder,
            languages=source["languages"].split(),
            repo=source["upstream"],
            licence=source["licence"],
            partition=split,
            accept=permission(folder, share=share, report=MiningReport()),
        )
        for row in rows:
            fits_code = MIN_CODE_TOKENS <= len(row["code_tokens"]) <= MAX_CODE_TOKENS
            fits_summary = MIN_SUMMARY_TOKENS <= len(row["docstring_tokens"]) <= MAX_SUMMARY_TOKENS
            if fits_code and fits_summary and _PROSE.match(row["docstring"]):
                yield row | {"path": upstream_path(row["path"], source=source)}


def upstream_path(path: str, *, source: dict[str, str]) -> str:
    """Return a file's path in its project: without the folder that an archive puts around it."""
    if source["folder"]:
        return f"{_INSIDE.sub('', source['folder'] + '/')}{path}"
    if source["registry"] == "debian-binary":
        return _INSTALLED.sub("", path, count=1)
    return path.partition("/")[2] if source["registry"] in ("debian", "npm") else path


def in_turns(rows: Iterable[Row], *, key: str, seed: int) -> Iterator[Row]:
    """Yield rows in a random order, every value of `key` in turn giving one."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    order = random.Random(seed)
    for members in groups.values():
        order.shuffle(members)
    while groups:
        for value in list(groups):
            yield groups[value].pop()
            if not groups[value]:
                del groups[value]


def summarization_split(root: Path, *, split: str, novelty: Novelty, summaries: Counter[str]) -> list[Row]:
    """Choose a split's rows: each language the same number, each repository of it in turn."""
    sources = [source for source in read_sources() if f"sample-{split}" in source["role"].split()]
    found = [row for source in sources for row in documented_rows(root, source=source, split=split)]
    chosen: list[Row] = []
    for place, language in enumerate(LANGUAGES):
        wanted = (NUM_ROWS[split] + len(LANGUAGES) - 1 - place) // len(LANGUAGES)
        of_language = [row for row in found if row["language"] == language]
        kept: list[Row] = []
        for row in in_turns(of_language, key="repo", seed=place):
            if len(kept) == wanted:
                break
            summary = row["docstring"].lower()
            if summaries[summary] < MAX_SAME_SUMMARY and novelty.admits(row["code"], language):
                summaries[summary] += 1
                kept.append(row)
        print(
            f"{split} {language}: {len(kept)} of {len(of_language)}, {len({r['repo'] for r in kept})} repos"
        )
        chosen += kept
    random.Random(0).shuffle(chosen)
    return chosen


def translation_rows(root: Path, *, source: dict[str, str], novelty: Novelty) -> Iterator[Row]:
    """Yield a package's Java/C# pairs, each side of them new."""
    pairs = sorted(
        parallel_methods(root, source=source),
        key=lambda pair: (pair.java.path, pair.java.function.start_line),
    )
    for pair in pairs:
        if novelty.admits(pair.java.function.code, "java") and novelty.admits(
            pair.csharp.function.code, "csharp"
        ):
            yield translation_row(pair, source=source)


def translation_row(pair: Pair, *, source: dict[str, str]) -> Row:
    """Return the row of one pair."""
    java_path = upstream_path(pair.java.path, source=source)
    return {
        "id": f"{source['upstream']}/{java_path}:{pair.java.function.start_line}",
        "java": pair.java.function.code,
        "cs": pair.csharp.function.code,
        "func_name": pair.java.function.qualified_name,
        "repo": source["upstream"],
        "java_path": java_path,
        "cs_path": upstream_path(pair.csharp.path, source=source),
        "licence": source["licence"],
    }


def write(path: Path, rows: list[Row]) -> None:
    """Writes rows as compressed JSON lines; the same rows make the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))
    codes = ((row["code"], row["language"]) if "code" in row else (row["java"], "java") for row in rows)
    lengths = sorted(len(code_tokens(code, language)) for code, language in codes)
    median = lengths[len(lengths) // 2]
    print(f"{path.name}: {len(rows)} rows, {path.stat().st_size} bytes, median {median} tokens", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("fetched", type=Path, help="what fetch.py wrote")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of the evaluation sets")
    options = parser.parse_args()
    novelty = Novelty(options.evaluation)
    summaries: Counter[str] = Counter()
    sources = list(permitted_sources(options.evaluation))
    for split in ("test", "valid", "train"):
        rows = summarization_split(options.fetched, split=split, novelty=novelty, summaries=summaries)
        write(ASSETS / f"summarization/{split}.jsonl.gz", rows)
    novelty = Novelty(options.evaluation)
    for split in ("test", "valid", "train"):
        pairs = [
            row
            for source in sources
            if f"parallel-{split}" in source["role"].split()
            for row in translation_rows(options.fetched, source=source, novelty=novelty)
        ]
        random.Random(0).shuffle(pairs)
        write(ASSETS / f"translation/{split}.jsonl.gz", pairs)


if __name__ == "__main__":
    main()
