"""A source tree's functions, in three splits that share nothing."""

from __future__ import annotations

from itertools import combinations

import pytest

from codeft.data.mining import mine_functions
from codeft.data.near_duplicates import jaccard, shingles
from codeft.data.splitting import mine_splits, split_rows
from codeft.types import CodeftError

WORDS = [
    "apple",
    "river",
    "stone",
    "cloud",
    "horse",
    "lamp",
    "paper",
    "glass",
    "tiger",
    "mango",
    "piano",
    "chair",
]


def function(i: int) -> str:
    """A documented function that is like no other."""
    a, b = WORDS[i % len(WORDS)], WORDS[(5 * i + 1) % len(WORDS)]
    lines = [f"    {a}_{i} = {b}_{i}.find({i}, {a}) + {j}" for j in range(3)]
    return "\n".join(
        [
            f"def take_{i}({a}, {b}_{i}):",
            f'    """Take the {a} number {i} away."""',
            *lines,
            f"    return {a}_{i}",
            "",
            "",
        ]
    )


def write(folder, files: dict[str, list[int]]):
    for name, numbers in files.items():
        (folder / name).write_text("\n".join(map(function, numbers)))
    return folder


def shared(splits, key) -> bool:
    values = [{key(row) for row in rows} for rows in splits.values()]
    return any(a & b for a, b in combinations(values, 2))


def nearly_shared(splits) -> bool:
    hashes = [[shingles(row["code"]) for row in rows] for rows in splits.values()]
    return any(jaccard(a, b) >= 0.75 for x, y in combinations(hashes, 2) for a in x for b in y)


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": [0, 1, 2]},
        {"a.py": [0], "b.py": [1], "c.py": [2]},
        {"a.py": [0, 1, 2, 3, 4, 5], "b.py": [6]},
        {"a.py": [0, 1], "b.py": [1, 2], "c.py": [3]},
        {f"m{i}.py": [2 * i, 2 * i + 1] for i in range(9)},
    ],
)
def test_each_split_of_a_small_tree_has_rows(tmp_path, files):
    splits = mine_splits(write(tmp_path, files))
    assert list(splits) == ["train", "valid", "test"]
    assert len(splits["train"]) >= max(len(splits["valid"]), len(splits["test"])) > 0
    assert sum(map(len, splits.values())) == sum(map(len, files.values()))
    assert not nearly_shared(splits)
    for name, rows in splits.items():
        assert {row["partition"] for row in rows} == {name}


def test_files_stay_whole_and_where_they_are(tmp_path):
    write(tmp_path, {f"m{i}.py": [2 * i, 2 * i + 1] for i in range(60)})
    splits = mine_splits(tmp_path)
    assert not shared(splits, lambda row: row["path"])
    assert len(splits["train"]) > 60 and min(len(splits["valid"]), len(splits["test"])) > 2
    write(tmp_path, {"more.py": [200]})
    again = mine_splits(tmp_path)
    for name, rows in splits.items():
        assert {row["path"] for row in rows} <= {row["path"] for row in again[name]}


def test_files_with_near_duplicates_stay_together(tmp_path):
    write(tmp_path, {f"m{i}.py": [i] for i in range(40)})
    for i in range(40):
        (tmp_path / f"copy{i}.py").write_text(function(i).replace("+ 0", "- 0"))
        (tmp_path / f"same{i}.py").write_text(function(i))
    splits = mine_splits(tmp_path)
    assert sum(map(len, splits.values())) == 120
    assert not nearly_shared(splits)


def test_the_largest_group_is_trained_on(tmp_path):
    for i in range(30):  # copies of one function, which a hash could put into the test split
        for start in "abc":
            folder = tmp_path / start
            folder.mkdir(exist_ok=True)
            write(folder, {f"{start}{i}.py": [0]})
    write(tmp_path, {"x.py": [1], "y.py": [2]})
    splits = mine_splits(tmp_path)
    assert [len(rows) for rows in splits.values()] == [90, 1, 1]


def test_too_few_functions_say_what_to_do(tmp_path):
    write(tmp_path, {"a.py": [0, 1], "b.py": [1]})
    with pytest.raises(CodeftError, match=r"found only 3 well documented functions .* data\.dir=") as caught:
        mine_splits(tmp_path)
    assert "near duplicates stay together (2 source files, 3 functions, left out: none)" in str(caught.value)
    with pytest.raises(CodeftError, match=r"expected data\.source to be a source tree, but .* doesn't exist"):
        mine_splits(tmp_path / "nowhere")
    assert split_rows(mine_functions(tmp_path / "b.py")) is None
    assert split_rows([]) is None
