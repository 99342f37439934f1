"""Kept hidden states: what was put comes back, whoever put it, and nothing damaged or foreign does."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft import prefix_budget, prefix_states
from codeft.prefix_budget import Budget, measure
from codeft.prefix_budget import open_states as budget_states
from codeft.prefix_states import FACTS, DiskStates, MemoryStates, make_room
from codeft.types import CodeftError

FACTS_HERE = {"layers": 6, "weights": "abc"}


def open_states(folder, *, facts=FACTS_HERE, limit=10**9, dtype=torch.float32):
    return DiskStates(folder, facts=facts, width=8, dtype=dtype, limit=limit)


def key(number):
    return number.to_bytes(16, "little")


def some(number, *, length=3, dtype=torch.float32):
    return torch.randn(length, 8, generator=torch.Generator().manual_seed(number)).to(dtype)


@pytest.fixture(params=["memory", "disk"])
def make(request, tmp_path):
    def made(*, dtype=torch.float32, limit=10**9):
        if request.param == "memory":
            return MemoryStates(dtype=dtype, limit=limit)
        return open_states(tmp_path / "a", dtype=dtype, limit=limit)

    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_was_put_comes_back_bit_for_bit(make, dtype):
    states = make(dtype=dtype)
    for number, length in enumerate((3, 1, 7, 0)):
        states.put(key(number), some(number, length=length, dtype=dtype))
    for number, length in enumerate((3, 1, 7, 0)):
        found = states.get(key(number))
        assert found.dtype == dtype
        assert torch.equal(found, some(number, length=length, dtype=dtype))
    assert states.get(key(9)) is None


def test_more_than_the_limit_isnt_kept_and_that_is_said_once(make, caplog):
    states = make(limit=3 * 8 * 4 * 2)
    for number in range(5):
        states.put(key(number), some(number))
    assert [states.get(key(number)) is not None for number in range(5)] == [True, True, False, False, False]
    assert caplog.text.count("no more") == 1


def test_others_read_what_one_has_put(tmp_path):
    first, second = open_states(tmp_path), open_states(tmp_path)
    first.put(key(1), some(1))
    assert second.get(key(1)) is None
    second.refresh()
    assert torch.equal(second.get(key(1)), some(1))
    second.put(key(2), some(2))
    first.put(key(3), some(3))
    first.refresh()
    assert torch.equal(first.get(key(2)), some(2))
    third = open_states(tmp_path)
    assert len(third) == 3
    assert torch.equal(third.get(key(3)), some(3))


@pytest.mark.parametrize("facts", [{"layers": 7, "weights": "abc"}, {"layers": 6, "weights": "other"}])
def test_what_other_facts_made_is_refused_with_what_differs(tmp_path, facts):
    open_states(tmp_path).put(key(1), some(1))
    [name] = [name for name in facts if facts[name] != FACTS_HERE[name]]
    with pytest.raises(CodeftError, match=f"{name} was {FACTS_HERE[name]} and is {facts[name]}"):
        open_states(tmp_path, facts=facts)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_unreadable_facts_are_refused(tmp_path, text):
    (tmp_path / FACTS).write_text(text)
    with pytest.raises(CodeftError, match="delete that folder"):
        open_states(tmp_path)


@given(cut=st.integers(0, 400), of=st.sampled_from(["states", "index"]))
@settings(max_examples=40, deadline=None)
def test_files_cut_anywhere_give_what_is_whole_and_take_the_rest_again(tmp_path_factory, cut, of):
    folder = tmp_path_factory.mktemp("cut")
    states = open_states(folder)
    for number in range(3):
        states.put(key(number), some(number))
    [path] = folder.glob(f"*.{of}")
    path.write_bytes(path.read_bytes()[:cut])
    again = open_states(folder)
    for number in range(3):
        found = again.get(key(number))
        assert found is None or torch.equal(found, some(number))
        again.put(key(number), some(number))
        assert torch.equal(again.get(key(number)), some(number))


@pytest.mark.parametrize("torn", [1, 16, 31])
def test_an_entry_that_is_still_being_written_is_read_once_it_is_whole(tmp_path, torn):
    """A reader that looks in the middle of a write goes on where the last whole entry ended."""
    writer = open_states(tmp_path)
    for number in range(3):
        writer.put(key(number), some(number))
    [index] = tmp_path.glob("*.index")
    data = index.read_bytes()
    entry = len(data) // 3
    index.write_bytes(data[: entry + torn])
    reader = open_states(tmp_path)
    assert len(reader) == 1 and torch.equal(reader.get(key(0)), some(0))
    index.write_bytes(data)
    reader.refresh()
    assert len(reader) == 3
    for number in range(3):
        assert torch.equal(reader.get(key(number)), some(number))


def test_a_flipped_bit_is_noticed(tmp_path, caplog):
    open_states(tmp_path).put(key(1), some(1))
    [path] = tmp_path.glob("*.states")
    data = bytearray(path.read_bytes())
    data[17] ^= 4
    path.write_bytes(data)
    states = open_states(tmp_path)
    assert states.get(key(1)) is None
    assert "damaged" in caplog.text


def test_a_full_disk_is_said_once_and_what_was_kept_stays(tmp_path, monkeypatch, caplog):
    states = open_states(tmp_path)
    states.put(key(1), some(1))

    def full(file, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prefix_states, "_write", full)
    for number in (2, 3):
        states.put(key(number), some(number))
    assert caplog.text.count("No space left") == 1
    assert states.get(key(2)) is None
    assert torch.equal(states.get(key(1)), some(1))


def test_a_folder_that_cant_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CodeftError, match="cache_dir"):
        open_states(tmp_path / "file" / "below")


@pytest.fixture
def three(tmp_path):
    """Three caches of 3,200 bytes and more, and a folder of somebody else's."""
    for age, name in enumerate(("new", "older", "oldest")):
        states = open_states(tmp_path / name)
        states.put(key(1), some(1, length=100))
        states.close()
        os.utime(tmp_path / name / FACTS, (1000 - age, 1000 - age))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("x" * 5000)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_used_least_lately_goes_first_and_no_more_than_needed(three):
    make_room(three, keep=three / "own", limit=20_000, needed=5000)
    assert names(three) == ["foreign", "new", "older", "oldest"]
    make_room(three, keep=three / "own", limit=13_000, needed=5000)
    assert names(three) == ["foreign", "new", "older"]
    make_room(three, keep=three / "older", limit=4000, needed=3000)
    assert names(three) == ["foreign", "older"]


def test_what_is_in_use_stays(three):
    used = open_states(three / "oldest")
    make_room(three, keep=three / "own", limit=4000, needed=4000)
    assert names(three) == ["foreign", "oldest"]
    assert torch.equal(used.get(key(1)), some(1, length=100))
    used.close()
    make_room(three, keep=three / "own", limit=4000, needed=4000)
    assert names(three) == ["foreign"]


def test_states_whose_folder_was_removed_by_hand_are_computed_again(tmp_path, caplog):
    first = open_states(tmp_path / "a")
    for number in range(3):
        first.put(key(number), some(number))
    second = open_states(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    assert [second.get(key(number)) for number in range(3)] == [None] * 3
    assert caplog.text.count("computed again") == 1


@pytest.mark.parametrize(
    ("disk", "memory", "chosen"), [(100, 0, "disk"), (99, 100, "memory"), (99, 99, "off")]
)
def test_auto_takes_disk_then_memory_then_neither(disk, memory, chosen):
    budget = Budget(needed=100, disk=disk, memory=memory, num_processes=1)
    assert budget.choose("auto") == chosen
    assert budget.choose("memory") == "memory"


def test_a_cache_that_is_there_needs_less_and_processes_share(tmp_path):
    states = open_states(tmp_path / "a")
    states.put(key(1), some(1, length=1000))
    settings = {"folder": tmp_path / "a", "limit": 100_000, "needed": 40_000}
    budget = measure(tmp_path, num_processes=1, **settings)
    assert 7000 < budget.needed < 8000
    assert 66_000 < budget.disk < 68_000
    assert measure(tmp_path, num_processes=4, **settings).memory <= budget.memory
    both = Budget(needed=100, disk=64 * 3, memory=0, num_processes=2)
    own = budget_states("disk", both, folder=tmp_path / "b", facts={}, width=8, dtype=torch.float32)
    for number in range(3):
        own.put(key(number), some(number))
    assert len(own) == 1


def test_a_container_has_less_memory_than_its_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(prefix_budget, "_CGROUP", tmp_path)
    whole = prefix_budget.free_memory()
    (tmp_path / "memory.current").write_text("600\n")
    for limit, expected in (("max\n", whole), ("1000\n", 400), ("500\n", 0)):
        (tmp_path / "memory.max").write_text(limit)
        assert prefix_budget.free_memory() == pytest.approx(expected, rel=0.2)
