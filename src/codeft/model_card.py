"""The README.md of an exported folder: what the model is, what it was measured at, and how it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from codeft.cli import conf_dir
from codeft.data.codexglue_hub import HUB
from codeft.data.sources import CodeSearchNetReader
from codeft.models.loading import ASSET, RANDOM
from codeft.models.snippets import INPUTS
from codeft.run_floors import floor_of
from codeft.split_reads import times_read
from codeft.summary import floor_sentence, shown_score, versions
from codeft.trained import HUB_ID

FOLDER = "path/to/this/folder"

_LICENCES = {
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
    "BSD-3-Clause": "bsd-3-clause",
    "BigCode OpenRAIL-M v1": "bigcode-openrail-m",
    "DeepSeek's own model licence": "other",
}
"""How the comments of `conf/model/*.yaml` name a licence, alone in a sentence or brackets; the hub's id."""

_EXAMPLES = {
    "translation": "public int area(int r) { return 3 * r * r; }",
    "refinement": "public int area ( int r ) { return 3 * r ; }",
    "generation": "Return the area of a circle.",
    "completion": "def area(r):\n    return 3.14 *",
}
_FUNCTION, _OTHER = "def area(r):\n    return 3.14 * r * r", "def size(x):\n    return x * x * 3.14"
_QUERY = "the area of a circle"

_SENTENCES = """
Or with sentence-transformers:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{folder}")
print(model.similarity(model.encode(["def area(r): ..."]), model.encode(["the area of a circle"])))
```
"""


def model_card(
    run: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    usage: str,
    graphs: Mapping[str, tuple[list[str], str]],
    is_sentence_model: bool,
    is_adapter: bool = False,
    marks: tuple[str | None, str | None] = (None, None),
    inputs: Sequence[str] = (),
    test_reads: int = 0,
) -> str:
    """Return a card: the hub's front matter, and what people read.

    Args:
        run: The run's config, as plain values.
        metrics: Its `metrics.json`; empty where it has no scores of these weights.
        usage: The snippet (`codeft.models.snippets`).
        graphs: ONNX graphs, as `write_graphs` returns them.
        is_sentence_model: Whether sentence-transformers reads the folder.
        is_adapter: Whether the folder holds adapters alone, which peft reads.
        marks: Tokens of the language that is read and of the one that is written, where the model has such.
        inputs: What the model reads beside the text, in codeft alone.
        test_reads: How often the run's test split was scored so far.
    """
    usage = usage.replace("MARKS", "({}, {})".format(*map(_literal, marks)))
    choices = run["choices"]
    task = str(choices.get("task") or "code")
    matter = front_matter(run, is_sentence_model=is_sentence_model, is_adapter=is_adapter)
    front = yaml.safe_dump(matter, sort_keys=False)
    parts = [
        f"---\n{front}---\n",
        f"# {choices.get('model') or 'A code model'}, fine-tuned for {task}\n",
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in _facts(run, metrics))]),
        f"\n## Scores\n\n{_scores(metrics, test_reads=test_reads)}",
        _of_precision(run, metrics),
        f"\n## Use\n\n{_reads(run, inputs)}\n\n```python\n{_with_inputs(usage, run)}```",
        _SENTENCES.format(folder=FOLDER) if is_sentence_model else "",
        _onnx(graphs),
        "" if is_adapter else _in_codeft(task, has_queries=_has_queries(run)),
    ]
    return "\n".join(part for part in parts if part)


def front_matter(
    run: Mapping[str, Any], *, is_sentence_model: bool, is_adapter: bool = False
) -> dict[str, Any]:
    """Return what the hub reads of a card.

    Args:
        run: The run's config, as plain values.
        is_sentence_model: Whether sentence-transformers reads the folder.
        is_adapter: Whether the folder holds adapters alone, which peft reads.
    """
    weights, task = str(run["model"].get("weights")), str(run["choices"].get("task"))
    found: dict[str, Any] = {"library_name": "peft" if is_adapter else "transformers"}
    if is_sentence_model:
        found |= {"library_name": "sentence-transformers", "pipeline_tag": "sentence-similarity"}
    if licence := licence_of(weights):
        found["license"] = _LICENCES[licence]
    if is_on_hub(weights):
        found["base_model"] = weights
    found["tags"] = ["codeft", "code", *([] if task == "None" else [task])]
    if datasets := _datasets(run):
        found["datasets"] = datasets
    return found


def licence_of(weights: str) -> str | None:
    """Return the licence of weights that a file of `conf/model` names, as its comments say it.

    Args:
        weights: A hub id, or an asset's name.
    """
    for path in sorted((conf_dir() / "model").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if re.search(rf"^  weights: {re.escape(weights)}\s", text, re.MULTILINE):
            comments = " ".join(line[2:] for line in text.splitlines() if line.startswith("#"))
            found = (name for name in _LICENCES if re.search(rf"(\. |\(){re.escape(name)}[.,)]", comments))
            return next(found, None)
    return None


def is_on_hub(weights: str) -> bool:
    """Return whether the name of weights is a hub id."""
    return re.fullmatch(HUB_ID, weights) is not None and not Path(weights).exists()


def _datasets(run: Mapping[str, Any]) -> list[str]:
    data, task = run["choices"].get("data"), str(run["choices"].get("task"))
    if data == "codexglue":
        return [HUB[task]] if task in HUB else []
    return [CodeSearchNetReader.HUB] if data == "codesearchnet" else []


def _facts(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    choices, model = run["choices"], run["model"]
    weights = str(model.get("weights"))
    base = weights if is_on_hub(weights) else "weights from a folder"
    if weights == RANDOM or weights.startswith(ASSET):
        base = "random weights" if weights == RANDOM else f"codeft's own {weights.removeprefix(ASSET)}"
    licence = licence_of(weights)
    yield "base model", f"{base}{f' ({licence})' if licence else ', licence not known to codeft'}"
    yield "task", choices.get("task")
    yield "data", " ".join(str(word) for word in (choices.get("data"), run.get("lang")) if word)
    yield "method", choices.get("method")
    for key in ("k", "alpha"):
        if run.get(key) is not None:
            yield key, run[key]
    yield "seed", run.get("seed")
    if training := metrics.get("training"):
        best = metrics.get("best", {}).get("epoch")
        after = f", and these are the weights after number {best}" if best else ""
        yield "epochs", f"{training['epochs']}{after}"
    if rows := metrics.get("rows"):
        yield "rows", ", ".join(f"{count:,} {name}" for name, count in rows.items() if count)
    if params := metrics.get("params"):
        yield "parameters", f"{params['total']:,}, of which {params['trainable']:,} were trained"
    yield "precision", f"{_precision(run, metrics) or 'not known'}; the weights here are float32"
    trained, written = metrics.get("versions", {}), versions()
    yield "trained with", ", ".join(f"{name} {version}" for name, version in trained.items()) or "not known"
    yield "written by", ", ".join(f"{name} {written[name]}" for name in ("codeft", "torch", "transformers"))


def _scores(metrics: Mapping[str, Any], *, test_reads: int) -> str:
    split = "test" if metrics.get("test") else "valid"
    scores, signatures = metrics.get(split) or {}, metrics.get("signatures") or {}
    if not scores:
        return "There are none of these weights."
    rows = []
    for name, value in scores.items():
        signature, floor = signatures.get(name, ""), floor_of(metrics, name, split=split)
        values = [shown_score(value, signature), "" if floor is None else shown_score(floor, signature)]
        rows.append(f"| {name} | {' | '.join(values)} | `{signature}` |")
    if split == "test":
        rows_of = "On the test split."
    elif test_reads:
        often = times_read(test_reads, split="test split was")
        rows_of = (
            f"On the validation rows, which picked the weights; the {often} after the run, and those "
            "scores are not here."
        )
    else:
        rows_of = (
            "On the validation rows, which picked the weights, and not on the test split, which was not read."
        )
    head = [
        f"{rows_of} Only scores with equal signatures can be compared. The floor is the best "
        "of what needs no model on the same rows (such as one text for all of them), where it is known.",
        "",
        "| score | value | floor | signature |",
        "|---|---|---|---|",
    ]
    below = floor_sentence({**metrics, "signatures": signatures}, split=split)
    tail = ["", f"{below[0].upper()}{below[1:]}."] if below else []
    return "\n".join([*head, *map(_escape_bars, rows), *tail])


def _precision(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> str | None:
    """Return the precision that a run computed in; None where it was left to the machine and isn't known."""
    told = metrics.get("precision") or run.get("trainer", {}).get("precision")
    return None if told in (None, "auto") else str(told)


def _of_precision(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    precision = _precision(run, metrics)
    if precision is None or precision.startswith("32"):
        return ""
    return (
        f"\nThe run computed in {precision}, and the weights here are float32: where two answers are nearly "
        "as good, plain transformers in float32 may give the other one, and its scores may differ in their "
        "last digits.\n"
    )


def _escape_bars(row: str) -> str:
    """Keep the bars of a signature from being read as a table's."""
    return re.sub(r"`[^`]*`", lambda found: found[0].replace("|", r"\|"), row)


def _literal(text: str | None) -> str:
    return "None" if text is None else json.dumps(text)


def _reads(run: Mapping[str, Any], inputs: Sequence[str]) -> str:
    task, data = run["task"], run["data"]
    told = [
        f"It reads at most {task.get('max_source_length')} sub-tokens; the tokenizer cuts what is longer."
    ]
    if task.get("max_query_length"):
        told.append(f"Of a query it reads {task['max_query_length']}.")
    if data.get("input") == "code_tokens":
        told.append("Code comes as tokens joined by blanks.")
    elif run["choices"].get("task") in ("summarization", "code_search"):
        told.append("Functions come as they are written, without their docstrings.")
    if task.get("prefix"):
        told.append(f"Each text begins with `{task['prefix']}`.")
    if task.get("collapse_whitespace"):
        told.append("Code comes as one line.")
    for name in inputs:
        told.append(
            f"It was trained with each text's {name.replace('_', ' ')} beside it, as codeft alone gives it "
            "(below). The Python here reads the text alone, and answers otherwise."
        )
    return " ".join(told)


def _has_queries(run: Mapping[str, Any]) -> bool:
    return "max_query_length" in run["task"]


def _with_inputs(usage: str, run: Mapping[str, Any]) -> str:
    task, name = run["task"], str(run["choices"].get("task"))
    text = str(task.get("prefix") or "") + _EXAMPLES.get(name, _FUNCTION)
    columns = {"texts": [text] if "others" in usage or "queries" in usage or "@ vectors" not in usage
               else [text, _OTHER]}  # fmt: skip
    if "embed(others)" in usage:
        columns["others"] = [_OTHER]
    if "embed(queries" in usage:
        columns["queries"] = [_QUERY]
    lines = [f'folder = "{FOLDER}"  # or its name on the hub']
    lines += [f"{column} = {json.dumps(texts, ensure_ascii=False)}" for column, texts in columns.items()]
    if task.get("collapse_whitespace"):
        lines += [f'{column} = [" ".join(text.split()) for text in {column}]' for column in columns]
    if "query_length" in usage:
        lines.append(f"query_length = {task.get('max_query_length')}")
    return usage.replace(f"{INPUTS}\n", "\n".join(lines) + "\n")


def _onnx(graphs: Mapping[str, tuple[list[str], str]]) -> str:
    if not graphs:
        return ""
    rows = [
        f"| `{file}` | {', '.join(f'`{name}`' for name in inputs)} | `{output}` |"
        for file, (inputs, output) in graphs.items()
    ]
    note = "\nThe decoder gives the logits of a whole target; it keeps no cache.\n" if len(rows) > 1 else "\n"
    head = ["\n## ONNX", "", "| graph | inputs | output |", "|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n" + note.rstrip("\n")


def _in_codeft(task: str, *, has_queries: bool) -> str:
    return f"\n## Use in codeft\n\n```bash\n{_command(task, has_queries=has_queries)}\n```\n"


def _command(task: str, *, has_queries: bool) -> str:
    if has_queries:
        return f'codeft predict run={FOLDER} input=src/ query="{_QUERY}"'
    source = "src/" if task in ("summarization", "defect_detection") else "rows.jsonl"
    return f"codeft predict run={FOLDER} input={source} output=out.jsonl"
