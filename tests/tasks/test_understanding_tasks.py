"""How rows of the understanding tasks are read and encoded."""

from __future__ import annotations

import pytest
import torch

from codeft.data.collate import Collator, Item
from codeft.models.loading import load_tokenizer
from codeft.tasks.clone_detection import ClonePairsTask, CloneRetrievalTask
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.defect_detection import DefectDetectionTask
from codeft.types import CodeftError, ModelOutput


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


def read(task, fields, *, labelled=True):
    return task.read(fields, where="rows.jsonl:3", input="code", labelled=labelled)


@pytest.mark.parametrize("target", [1, True, "1"])
@pytest.mark.parametrize("names", [("func", "target"), ("code", "label"), ("source", "target")])
def test_a_defect_row(names, target, tokenizer):
    task = DefectDetectionTask()
    example = read(task, {names[0]: "int f()\n{\n  return 0;\n}", names[1]: target, "idx": 0})
    assert (example.source, example.target, example.lang) == ("int f() { return 0; }", "1", "c")
    assert example.id == "0"
    [encoding] = task.encode([example], tokenizer)
    assert encoding.labels.tolist() == [1] and not encoding.others


@pytest.mark.parametrize(
    ("task", "fields", "said"),
    [
        (DefectDetectionTask(), {"func": "f", "target": 2}, 'expected "target" to be 0 or 1, got 2'),
        (DefectDetectionTask(), {"func": "f"}, 'expected a field "target" or "label"'),
        (DefectDetectionTask(), {"target": 1}, 'expected a field "func" or "code" or "source"'),
        (ClonePairsTask(), {"code1": "f", "label": 1}, 'expected a field "code2"'),
        (ClonePairsTask(), {"code1": "f", "code2": "g", "label": "x"}, "to be 0 or 1, got 'x'"),
        (CloneRetrievalTask(), {"code": "f"}, 'expected "label"'),
        (CodeSearchTask(), {"code": "f", "language": "python"}, '"docstring" or "target"'),
        (
            CodeSearchTask(hard_negatives=1),
            {"code": "f", "query": "q", "negatives": "g", "language": "c"},
            '"negatives" to be a list',
        ),
        (
            CodeSearchTask(hard_negatives=2),
            {"code": "f", "query": "q", "negatives": ["g"], "language": "c"},
            'expected 2 "negatives" (task.hard_negatives), got 1',
        ),
    ],
)
def test_a_row_that_lacks_something(task, fields, said):
    with pytest.raises(CodeftError) as caught:
        read(task, fields)
    assert str(caught.value).startswith("rows.jsonl:3: ") and said in str(caught.value)


def test_a_pair_is_two_texts(tokenizer):
    task = ClonePairsTask(max_source_length=6, collapse_whitespace=False)
    example = read(task, {"code1": "int  f", "code2": "x = 1;" * 20, "label": 0, "id": 5})
    assert example.source == "int  f" and example.others[0].source.startswith("x = 1;")
    [encoding] = task.encode([example], tokenizer)
    assert encoding.labels.tolist() == [0]
    assert encoding.truncated and not encoding.others[0].input_ids.size > 6
    assert task.training_lengths(encoding) == (12, 1)


def test_probabilities_are_of_label_1():
    logits = torch.tensor([[0.0, 0.0], [2.0, -1.0], [-30.0, 30.0]])
    task = DefectDetectionTask()
    assert task.predict(None, {}, output=ModelOutput(logits=logits)) == ["0.500000", "0.047426", "1.000000"]


SEARCH_ROW = {
    "code": 'def f(x):\n    """Add one."""\n    return x + 1',
    "docstring_tokens": ["Add", "one", "."],
    "language": "python",
    "url": "https://example.org/f",
}


def test_a_query_and_its_function():
    example = read(CodeSearchTask(), SEARCH_ROW)
    assert '"""' not in example.source and example.lang == "python"
    assert [(other.source, other.lang) for other in example.others] == [("Add one .", "")]
    assert example.meta["code_id"] == SEARCH_ROW["url"]
    asked = read(CodeSearchTask(), {**SEARCH_ROW, "doc": "how to add one", "retrieval_idx": 7})
    assert asked.others[0].source == "how to add one" and asked.meta["code_id"] == "7"


@pytest.mark.parametrize("url", [None, ""])
def test_a_field_that_says_nothing_names_no_function(url):
    one, other = (read(CodeSearchTask(), {**SEARCH_ROW, "url": url, "idx": i}) for i in range(2))
    assert (one.id, other.id) == ("0", "1")
    assert one.meta["code_id"] != other.meta["code_id"]


def test_advtests_names():
    row = {key: value for key, value in SEARCH_ROW.items() if key != "code"}
    assert (
        read(CodeSearchTask(), {**row, "function": SEARCH_ROW["code"]}).source
        == read(CodeSearchTask(), SEARCH_ROW).source
    )


def test_a_candidate_has_no_query(tokenizer):
    task = CodeSearchTask()
    examples = [read(task, SEARCH_ROW), read(task, SEARCH_ROW, labelled=False)]
    assert task.without_query(examples[0]) == examples[1]
    assert [encoding.labels.tolist() for encoding in task.encode(examples, tokenizer)] == [[1], [0]]
    assert examples[1].others[0].source == "" and examples[1].target is None


def test_hard_negatives_are_further_texts(tokenizer):
    task = CodeSearchTask(hard_negatives=2, max_query_length=3)
    negatives = ['def g():\n    """Other."""\n    pass', "def h(): pass", "def i(): pass"]
    example = read(task, {**SEARCH_ROW, "negatives": negatives})
    assert [other.source for other in example.others] == [
        "Add one .",
        "def g():\n    pass",
        "def h(): pass",
    ]
    [encoding] = task.encode([example], tokenizer)
    assert len(encoding.others) == 3 and len(encoding.others[0].input_ids) <= 3


def test_only_training_rows_need_their_negatives():
    task = CodeSearchTask(hard_negatives=2)
    example = read(task, SEARCH_ROW)
    assert [other.source for other in example.others] == ["Add one .", "", ""]
    task.check([example], split="valid")
    with pytest.raises(CodeftError, match=r'f: expected 2 "negatives" .* in each training row, got none'):
        task.check([read(task, {**SEARCH_ROW, "negatives": ["def g(): pass"] * 2}), example], split="train")


def test_rows_with_an_equal_query_or_function_are_no_negatives(tokenizer):
    texts = [("f", "One."), ("g", "One."), ("h", "Two."), ("g", "Three."), ("i", "Four.")]
    rows = [
        {"code": f"def {name}():\n    pass", "query": query, "language": "python", "id": str(i)}
        for i, (name, query) in enumerate(texts)
    ]
    task = CodeSearchTask(temperature=1.0)
    encoded = task.encode([read(task, row) for row in rows], tokenizer)
    batch = Collator(0, {})([Item(i, encoding, [{}, {}]) for i, encoding in enumerate(encoded)])
    vectors = torch.nn.functional.normalize(torch.randn(10, 8), dim=-1)
    right = {0: {0, 1, 3}, 1: {0, 1, 3}, 2: {2}, 3: {1, 3}, 4: {4}}
    scores = vectors[5:] @ vectors[:5].T
    expected = [
        scores[i, [j for j in range(5) if j == i or j not in same]].logsumexp(0) - scores[i, i]
        for i, same in right.items()
    ]
    torch.testing.assert_close(task.loss(ModelOutput(embedding=vectors), batch), torch.stack(expected).mean())


def test_hard_negatives_raise_the_loss():
    torch.manual_seed(0)
    codes, queries, negatives = torch.randn(3, 4, 8)
    plain = CodeSearchTask().loss(ModelOutput(embedding=torch.cat([codes, queries])), {})
    task = CodeSearchTask(hard_negatives=1)
    harder = task.loss(ModelOutput(embedding=torch.cat([codes, queries, negatives])), {})
    assert harder > plain


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"protocol": "best"}, "protocol"),
        ({"temperature": 0}, r"task\.temperature must be above 0"),
        ({"hard_negatives": -1}, r"task\.hard_negatives"),
        ({"max_query_length": 0}, r"task\.max_query_length"),
        ({"lang": "pyhton"}, "Did you mean 'python'"),
    ],
)
def test_impossible_settings(settings, said):
    with pytest.raises(CodeftError, match=said):
        CodeSearchTask(**settings)


def test_a_protocol_names_the_score_that_picks():
    assert CodeSearchTask().monitor == "mrr"
    assert CodeSearchTask(protocol="cut1000").monitor == "mrr_cut1000"


def test_equal_functions_are_one_candidate():
    twin = {**SEARCH_ROW, "url": "https://example.org/g"}
    one, other = (read(CodeSearchTask(deduplicate=True), row) for row in (SEARCH_ROW, twin))
    assert one.meta["code_id"] == other.meta["code_id"]
    one, other = (read(CodeSearchTask(), row) for row in (SEARCH_ROW, twin))
    assert one.meta["code_id"] != other.meta["code_id"]
