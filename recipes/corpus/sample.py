"""Makes the sample that comes with codeft: rows for every task.

Documented functions in nine languages (code search reads them, too) and Java/C# pairs are made here, the
other tasks' rows in `samples/`. Every split has repositories of its own, and no function nearly duplicates
another one of its task or of the evaluation sets.

Usage: python recipes/corpus/sample.py FETCHED --evaluation DATA [--tasks TASK ...]
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fetch import read_sources
from histories import check_histories
from parallel import Pair, parallel_methods
from pretrain import permitted_sources
from samples.clones import clone_groups, clone_pairs
from samples.completion import completion_rows
from samples.defects import defect_rows
from samples.generation import generation_rows
from samples.refinement import refinement_rows
from samples.rows import ASSETS, Novelty, Row, file_text, in_turns, split_functions, write_rows
from trees import permission, tree_bytes, tree_roots, upstream_path

from codeft.data.mining import MiningReport, mine_functions
from codeft.syntax.languages import LANGUAGES

NUM_ROWS = {"train": 2000, "valid": 200, "test": 200}
MAX_BYTES_READ = 4_000_000  # of one package
MIN_CODE_TOKENS, MAX_CODE_TOKENS = 20, 240
MIN_SUMMARY_TOKENS, MAX_SUMMARY_TOKENS = 5, 40
MAX_SAME_SUMMARY = 2
_PROSE = re.compile(r"[A-Z][a-z]*[ ,'-].*[a-z]", re.DOTALL)

MAKERS = {
    "completion": completion_rows,
    "clone_detection": clone_pairs,
    "clone_detection_poj104": clone_groups,
    "defect_detection": defect_rows,
}
SNIPPETS = {
    "generation": (("java",), 20, 120),
    "completion": (("java", "python"), 40, 240),
    "clone_detection": (("java",), 40, 160),
    "clone_detection_poj104": (("cpp",), 50, 200),
    "defect_detection": (("c",), 40, 240),
}
"""Each task's languages, and its functions' tokens at least and at most."""
TASKS = ("summarization", "translation", "refinement", *SNIPPETS)


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


def summarization_split(root: Path, *, split: str, novelty: Novelty, summaries: Counter[str]) -> list[Row]:
    """Choose a split's rows: each language the same number, each repository of it in turn."""
    sources = [source for source in read_sources() if f"sample-{split}" in source["role"].split()]
    found = [row for source in sources for row in documented_rows(root, source=source, split=split)]
    chosen: list[Row] = []
    for place, language in enumerate(LANGUAGES):
        wanted = (NUM_ROWS[split] + len(LANGUAGES) - 1 - place) // len(LANGUAGES)
        of_language = [row for row in found if row["language"] == language]
        kept: list[Row] = []
        for row in in_turns(of_language, key=lambda row: str(row["repo"]), seed=place):
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


def translation_split(
    root: Path, sources: list[dict[str, str]], *, split: str, novelty: Novelty
) -> list[Row]:
    """Return the Java/C# pairs of a split's packages."""
    pairs = [
        row
        for source in sources
        if f"parallel-{split}" in source["role"].split()
        for row in translation_rows(root, source=source, novelty=novelty)
    ]
    random.Random(0).shuffle(pairs)
    return pairs


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


def snippet_split(task: str, root: Path, *, split: str, novelty: Novelty) -> list[Row]:
    """Make a split's rows of a task that isn't mined with documentation or in pairs of languages."""
    if task == "refinement":
        return refinement_rows(root, split=split, novelty=novelty)
    languages, min_tokens, max_tokens = SNIPPETS[task]
    functions = split_functions(
        root, split=split, languages=languages, min_tokens=min_tokens, max_tokens=max_tokens
    )
    if task == "generation":
        file_of = partial(file_text, root)
        return generation_rows(functions, split=split, novelty=novelty, file_of=file_of)
    return MAKERS[task](functions, split=split, novelty=novelty)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("fetched", type=Path, help="what fetch.py wrote")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of the evaluation sets")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="TASK")
    options = parser.parse_args()
    novelty = Novelty(options.evaluation)
    sources = list(permitted_sources(options.evaluation))
    check_histories(options.evaluation)
    summaries: Counter[str] = Counter()
    for task in options.tasks:
        novelty.forget()
        for split in ("test", "valid", "train"):
            if task == "summarization":
                rows = summarization_split(options.fetched, split=split, novelty=novelty, summaries=summaries)
            elif task == "translation":
                rows = translation_split(options.fetched, sources, split=split, novelty=novelty)
            else:
                rows = snippet_split(task, options.fetched, split=split, novelty=novelty)
            write_rows(ASSETS / f"{task}/{split}.jsonl.gz", rows)


if __name__ == "__main__":
    main()
