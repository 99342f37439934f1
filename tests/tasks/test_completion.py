"""Line completion: its rows, the end of long contexts, and one line as the answer."""

from __future__ import annotations

import types

import pytest

from codeft.models.loading import load_tokenizer
from codeft.tasks.completion import CompletionTask
from codeft.types import CodeftError, Example

PLACE = {"where": "dev.json:1", "input": "code"}


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


def test_rows_in_the_published_form():
    fields = {"input": "<s> import os <EOL> x = '<STR_LIT:r>' <EOL> y", "gt": "= <NUM_LIT:1>"}
    example = CompletionTask(lang="py").read(fields, **PLACE, labelled=True)
    assert example.source == "import os\nx = '<STR_LIT:r>'\ny"
    assert (example.target, example.lang) == ("= <NUM_LIT:1>", "python")
    fields["input"] = "<s> import os <EOL>"
    assert CompletionTask().read(fields, **PLACE, labelled=False).source == "import os\n"


def test_rows_of_ones_own_keep_their_layout():
    fields = {"source": "def f():\n    return ", "target": "1"}
    example = CompletionTask().read(fields, **PLACE, labelled=True)
    assert example == Example("dev.json:1", "def f():\n    return ", "1")
    with pytest.raises(CodeftError, match=r'dev\.json:1: expected a field "input" or "source"'):
        CompletionTask().read({"code": "x"}, **PLACE, labelled=False)


def test_of_a_long_context_the_end_is_kept(tokenizer):
    source = "".join(f"naïve_{i} = '日本{i}'\n" for i in range(30)) + "last = naïve_1 ."
    target = "get ( 'a long line that is cut' ) ; " * 4
    (whole,) = CompletionTask(max_source_length=5000).encode([Example("a", source, target)], tokenizer)
    assert (
        not CompletionTask(max_source_length=len(whole.input_ids), max_target_length=500)
        .encode([Example("a", source, target)], tokenizer)[0]
        .truncated
    )
    task = CompletionTask(max_source_length=20, max_target_length=8)
    (encoding,) = task.encode([Example("a", source, target)], tokenizer)
    assert encoding.truncated
    assert len(encoding.input_ids) == 20 and len(encoding.labels) == 8
    assert encoding.input_ids.tolist() == whole.input_ids[-20:].tolist()
    assert encoding.offsets.tolist() == whole.offsets[-20:].tolist()
    start = encoding.offsets[0, 0]
    assert tokenizer.decode(encoding.input_ids, skip_special_tokens=True).endswith(source[start + 1 :])
    begun = tokenizer.decode(encoding.labels, skip_special_tokens=True)
    assert begun and target.startswith(begun)  # of the line the beginning is kept
    assert tokenizer.truncation_side == "right"


def test_the_answer_is_one_line(tokenizer):
    ids = tokenizer(["  a = 1 ; \nb = 2", "\n c ( )", ""], padding=True, return_tensors="pt")["input_ids"]
    model = types.SimpleNamespace(tokenizer=tokenizer, generate=lambda batch, *, max_length, num_beams: ids)
    assert CompletionTask().predict(model, {}) == ["a = 1 ;", "c ( )", ""]


def test_literals_are_written_out_before_scoring():
    metrics = CompletionTask().metrics()
    for metric in metrics.values():
        metric.update(["x = <NUM_LIT:0> ;"], ["x = <NUM_LIT> ;"])
    assert {name: metric.compute().item() for name, metric in metrics.items()} == {
        "edit_similarity": 100,
        "exact_match_split": 100,
    }
