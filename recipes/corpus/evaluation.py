"""What the evaluation sets hold, so that nothing of it gets into training: repositories and functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from codeft.syntax.docstrings import remove_docstring

NAMED_PROJECTS = frozenset(
    {
        *("lucene", "lucene-solr", "lucenenet", "poi", "npoi", "jgit", "ngit", "antlr", "antlr3", "antlr4"),
        *("antlrcs", "aws-sdk-java", "aws-sdk-net", "ffmpeg", "qemu", "linux", "chromium", "imagemagick"),
        *(
            "tcpdump",
            "php-src",
            "httpd",
            "android",
            "wireshark",
            "openssl",
            "krb5",
            "ghostscript",
            "ghostpdl",
        ),
        *("radare2", "savannah", "libav", "libtiff", "airflow", "you-get"),
    }
)
"""Projects that translation, defect detection and their like were built from, by their repository's name."""

_REPOSITORY = re.compile(r"github\.com/([\w.-]+/[\w.-]+)/(?:blob|commit|tree)|\"(?:repo|nwo)\": \"([^\"]+)\"")

_COMMENT_OR_STRING = {
    "hash": re.compile(
        r"(?P<string>\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')|#[^\n]*", re.DOTALL
    ),
    "slash": re.compile(
        r"(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`[^`]*`)|//[^\n]*|/\*.*?\*/", re.DOTALL
    ),
}
_LITERAL = re.compile(r"<STR_LIT[^<>]*>|<CHAR_LIT[^<>]*>|<NUM_LIT[^<>]*>|</?s>|<EOL>|<INDENT>|<DEDENT>")


def comparable(code: str, language: str) -> str:
    """Return code as near duplicates are looked for in it: no comments, nothing inside strings.

    >>> comparable('f("a b") # call', "python").split()
    ['f(', '"', ')']
    """
    kind = "hash" if language in ("python", "ruby") else "slash"

    def replace(match: re.Match[str]) -> str:
        return ' " ' if match["string"] is not None else " "

    return _COMMENT_OR_STRING[kind].sub(replace, _LITERAL.sub(' " ', code))


def evaluation_repositories(data: Path) -> set[str]:
    """Return `owner/name`, in lower case, of every repository that a file of evaluation data names."""
    repositories = set()
    for path in sorted(data.rglob("*")):
        if path.suffix in {".jsonl", ".json", ".csv", ".txt"} and "tokenizers" not in path.parts:
            text = path.read_text(encoding="utf-8", errors="replace")
            repositories |= {(match[1] or match[2]).lower() for match in _REPOSITORY.finditer(text)}
    return repositories


def is_evaluated(upstream: str, *, repositories: set[str]) -> bool:
    """Whether an evaluation set holds an upstream repository, by its full name or a known project's."""
    return upstream.lower() in repositories or upstream.lower().rpartition("/")[2] in NAMED_PROJECTS


def evaluation_functions(data: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (data set, language, code without documentation) of every validation and test function.

    Those whose names were replaced (`VAR_1` in the bug fixing sets, `arg_0` in AdvTest) can be recognised by
    what is left without names only (`renaming.renamed_shingles`).
    """
    summarization = [("csn_ruby", "ruby"), ("csn_python_small", "python")]
    for folder, language in summarization:
        for split in ("valid", "test"):
            for row in _rows(data / "summarization" / folder / f"{split}.jsonl"):
                yield folder, language, remove_docstring(row["code"], language)
    for path in sorted((data / "search/gencodesearchnet_samples").glob("csn_*.jsonl")):
        language = path.stem.split("_")[1].replace("adv", "python")
        for row in _rows(path):
            code = (
                row["input"].rpartition("[SEP]")[2] if "input" in row else row.get("function") or row["code"]
            )
            yield path.stem, language, remove_docstring(code, language)
    for name in ("cosqa-dev", "cosqa-retrieval-dev-500", "cosqa-retrieval-test-500"):
        for row in json.loads((data / f"search/cosqa/{name}.json").read_text(encoding="utf-8")):
            yield "cosqa", "python", remove_docstring(row["code"], "python")
    for code in json.loads((data / "search/cosqa/code_idx_map.txt").read_text(encoding="utf-8")):
        yield "cosqa", "python", remove_docstring(code, "python")
    for split in ("dev", "test"):
        for row in _rows(data / f"concode/{split}.json"):
            if row.get("code"):
                yield "concode", "java", row["code"]
    for row in _rows(data / "clone/bigclonebench/data.jsonl"):
        yield "bigclonebench", "java", row["func"]
    for split in ("valid", "test"):
        for row in _rows(data / f"clone/poj104/{split}.jsonl"):
            yield "poj104", "cpp", row["code"]
        for row in _rows(data / f"defect/bigvul_balanced/{split}.jsonl"):
            yield "bigvul", "c", row["func"]
        for ending, language in (("java", "java"), ("cs", "csharp")):
            path = data / f"translation/{split}.java-cs.txt.{ending}"
            for line in path.read_text(encoding="utf-8").splitlines():
                yield "translation", language, line
    for row in _rows(data / "defect/devign/test.jsonl"):
        yield "devign", "c", row["func"]
    for folder in ("bugs2fix_small", "codereview_tufano"):
        for split in ("valid", "test"):
            for side in ("buggy", "fixed"):
                path = data / f"refinement/{folder}/{split}.buggy-fixed.{side}"
                for line in path.read_text(encoding="utf-8").splitlines():
                    yield folder, "java", line


def evaluation_files(data: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (data set, language, text) of the completion sets' rows, which are beginnings of whole files."""
    for folder, language in (("javaCorpus", "java"), ("py150", "python")):
        for row in _rows(data / f"completion/{folder}/dev.json"):
            yield folder, language, row["input"] + " " + row["gt"]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
