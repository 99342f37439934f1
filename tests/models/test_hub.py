from __future__ import annotations

import json
import shutil

import httpx
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from codeft.models import hub, loading
from codeft.types import CodeftError

NAME = "owner/model"


class Session:
    """Stands for the network: counts what is asked and fails on demand."""

    def __init__(self, error=None):
        self.error, self.asked = error, []

    def head(self, url, *, timeout):
        self.asked.append((url, timeout))
        if self.error:
            raise self.error


@pytest.fixture
def network(monkeypatch, tmp_path):
    """Installs a session, the hub's list of files and a cache; returns what a download would ask for."""

    def install(*, error=None, files=(), cached=None, offline=False):
        session, wanted = Session(error), {}

        def snapshot_download(name, *, revision, allow_patterns=None, local_files_only=False):
            if local_files_only and cached is None:
                raise LocalEntryNotFoundError("not cached")
            wanted.update(name=name, revision=revision, patterns=allow_patterns)
            return str(cached or tmp_path)

        def list_repo_files(self, name, *, revision):
            if files is None:
                raise FileNotFoundError("404")
            if isinstance(files, Exception):
                raise files
            return list(files)

        monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: session)
        monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
        monkeypatch.setattr(hub.HfApi, "list_repo_files", list_repo_files)
        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", offline)
        return session, wanted

    return install


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError("slow")])
def test_without_network_it_asks_once_and_tells_what_to_do(network, error):
    session, _ = network(error=error)
    with pytest.raises(
        CodeftError, match=r"can't reach the hub for 'owner/model'.*model\.weights=/path/to/folder"
    ):
        hub.download(NAME, revision=None)
    assert len(session.asked) == 1 and session.asked[0][1] <= 15


def test_a_closed_port_is_no_network(monkeypatch):
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_find_cached", lambda name, **values: None)
    with pytest.raises(CodeftError, match="can't reach the hub"):
        hub.download(NAME, revision=None)


def test_offline_mode_asks_nothing(network):
    session, _ = network(offline=True)
    with pytest.raises(CodeftError, match=r"HF_HUB_OFFLINE is set.*model\.weights="):
        hub.download(NAME, revision=None)
    assert not session.asked


def test_what_is_cached_is_used_without_asking(network, t5_folder):
    session, _ = network(cached=t5_folder, error=ConnectionError("no route"), offline=True)
    assert hub.download(NAME, revision="abc") == t5_folder
    assert not session.asked


def test_a_half_cached_model_is_downloaded(network, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    session, wanted = network(cached=tmp_path, files=["config.json", "model.safetensors"])
    hub.download(NAME, revision=None)
    assert session.asked and wanted["patterns"]


def put(folder, *, shards=(), index=None, others=("config.json", "tokenizer.json")):
    for name in (*shards, *others):
        (folder / name).write_text("{}")
    if index is not None:
        weight_map = {f"layer.{number}": name for number, name in enumerate(index)}
        kind = "model.safetensors" if index[0].endswith(".safetensors") else "pytorch_model.bin"
        (folder / f"{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


SHARDS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
PICKLED = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]


@pytest.mark.parametrize(
    ("shards", "index"),
    [
        (SHARDS[:1], SHARDS),
        (SHARDS, None),  # whose names nobody knows
        (PICKLED[1:], PICKLED),
        (PICKLED, SHARDS),  # transformers would follow the index
    ],
)
def test_half_of_the_shards_are_no_model(network, tmp_path, shards, index):
    put(tmp_path, shards=shards, index=index)
    session, wanted = network(cached=tmp_path, files=["config.json", *SHARDS])
    hub.download(NAME, revision=None)
    assert session.asked and wanted["patterns"]
    network(cached=tmp_path, offline=True)
    with pytest.raises(CodeftError, match=r"the cache doesn't have all of 'owner/model'"):
        hub.download(NAME, revision=None)


@pytest.mark.parametrize(
    ("shards", "index"),
    [
        (SHARDS, SHARDS),
        (PICKLED, PICKLED),
        (["pytorch_model.bin"], None),
        (["model.safetensors"], PICKLED),  # the other kind isn't downloaded
    ],
)
def test_all_shards_are_a_model(network, tmp_path, shards, index):
    put(tmp_path, shards=shards, index=index)
    session, _ = network(cached=tmp_path, offline=True)
    assert hub.download(NAME, revision=None) == tmp_path and not session.asked


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_cant_be_read_is_no_whole_model(network, tmp_path, content):
    put(tmp_path, shards=SHARDS)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    session, _ = network(cached=tmp_path, files=SHARDS)
    hub.download(NAME, revision=None)
    assert session.asked


@pytest.mark.parametrize(
    ("files", "has_one"),
    [
        (["tokenizer.json"], True),
        (["vocab.json", "merges.txt"], True),
        (["sentencepiece.bpe.model"], True),
        (["spiece.model"], True),
        (["vocab.txt"], True),
        (["vocab.json"], False),
        (["tokenizer_config.json", "special_tokens_map.json"], False),
    ],
)
def test_a_model_without_its_tokenizer_is_downloaded(network, tmp_path, files, has_one):
    put(tmp_path, shards=["model.safetensors"], others=["config.json", *files])
    session, _ = network(cached=tmp_path, files=["model.safetensors"])
    hub.download(NAME, revision=None)
    assert bool(session.asked) != has_one
    session, _ = network(cached=tmp_path, offline=True)
    assert hub.download(NAME, revision=None, with_tokenizer=False) == tmp_path  # given elsewhere


def test_the_familys_own_tokenizer_neednt_lie_with_the_weights(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(loading, "download", lambda name, **values: asked.append(values) or tmp_path)
    loading.find_folder(NAME, with_tokenizer=False)
    loading.find_folder(NAME)
    assert [values["with_tokenizer"] for values in asked] == [False, True]


@pytest.mark.parametrize(
    ("files", "taken", "left"),
    [
        (["model.safetensors", "pytorch_model.bin"], hub.SAFE, hub.PICKLED),
        (["model-00001-of-00002.safetensors"], hub.SAFE, hub.PICKLED),
        (["pytorch_model.bin", "tf_model.h5"], hub.PICKLED, hub.SAFE),
    ],
)
def test_takes_safetensors_where_there_are_any(network, files, taken, left):
    _, wanted = network(files=files)
    hub.download(NAME, revision="v1")
    assert taken in wanted["patterns"] and left not in wanted["patterns"]
    assert (wanted["name"], wanted["revision"]) == (NAME, "v1")


def test_unknown_model_is_an_error(network):
    network(files=None)
    with pytest.raises(CodeftError, match=r"the hub didn't give 'owner/model' \(revision v9\)"):
        hub.download(NAME, revision="v9")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            RepositoryNotFoundError,
            401,
            "shows no model 'owner/model': check the spelling.*private.*hf auth login",
        ),
        (
            GatedRepoError,
            403,
            "'owner/model' gives it to who asks: ask at .*/owner/model and .*hf auth login",
        ),
        (RevisionNotFoundError, 404, "'owner/model' has no revision 'v9': give .*model.revision=null"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_to_do(network, error, status, message):
    response = httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api"))
    network(files=error("no", response=response))
    with pytest.raises(CodeftError, match=message):
        hub.download(NAME, revision="v9")


@pytest.mark.parametrize("code", [False, True])
def test_code_is_fetched_only_where_it_is_asked_for(network, code):
    _, wanted = network(files=["model.safetensors", "modeling_own.py"])
    hub.download(NAME, revision="abc", code=code)
    assert ("*.py" in wanted["patterns"]) == code


def test_what_is_cached_without_its_code_is_fetched_again_for_the_code(network, t5_folder, tmp_path):
    folder = shutil.copytree(t5_folder, tmp_path / "cached")
    (folder / "config.json").write_text('{"auto_map": {"AutoConfig": "own.OwnConfig"}}')
    _, wanted = network(cached=folder, files=["model.safetensors", "own.py"])
    assert hub.download(NAME, revision=None) == folder
    assert wanted["patterns"] is None
    hub.download(NAME, revision=None, code=True)
    assert "*.py" in wanted["patterns"]
    (folder / "own.py").touch()
    wanted.clear()
    hub.download(NAME, revision=None, code=True)
    assert wanted["patterns"] is None
