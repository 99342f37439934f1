from __future__ import annotations

import json
import shutil

import pytest
import transformers
from tokenizers import Tokenizer

from codeft.models import loading, networks
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.types import CodeftError

CODE = 'def f(x):\n    return "</s>"  # naïve 日本\n'


def test_find_folder_takes_a_local_folder(t5_folder):
    assert loading.find_folder(str(t5_folder)) == t5_folder


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "~/nowhere-at-all", "a/b/c", "a b"])
def test_missing_folder_is_an_error_not_a_download(name):
    with pytest.raises(CodeftError, match="there is no model folder"):
        loading.find_folder(name)


def test_a_mistyped_path_may_have_been_meant(monkeypatch, tmp_path):
    def download(name, **_):
        raise CodeftError(f"can't reach the hub for {name!r}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "download", download)
    with pytest.raises(CodeftError) as caught:
        loading.find_folder("bad/nothere")
    said = f"there is no folder 'bad/nothere' in {str(tmp_path)!r}, and as a name on the hub: can't reach"
    assert str(caught.value).startswith(said)


def test_a_file_is_an_error(t5_folder):
    with pytest.raises(CodeftError, match="expected a model folder, got the file"):
        loading.find_folder(str(t5_folder / "config.json"))


def test_unknown_asset_is_an_error():
    with pytest.raises(CodeftError, match="no model 'asset:maxi' here"):
        loading.find_folder("asset:maxi")


@pytest.mark.parametrize(
    ("name", "size", "frame"), [("codet5", 32000, (1, 2)), ("roberta_codebert", 50265, (0, 2))]
)
def test_bare_vocabularies_of_published_models(shared_data, name, size, frame):
    tokenizer = loading.load_tokenizer(shared_data / "tokenizers" / name)
    assert len(tokenizer) == size
    encoded = tokenizer(CODE, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    assert (ids[0], ids[-1]) == frame
    assert not set(ids[1:-1]) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids, skip_special_tokens=True) == CODE
    assert "".join(CODE[a:b] for a, b in encoded["offset_mapping"]).count("日本") >= 1


def test_codeberts_readme(shared_data):
    """The ids that the README of microsoft/CodeBERT prints for a sentence and a function."""
    tokenizer = loading.load_tokenizer(shared_data / "tokenizers" / "roberta_codebert")
    sentence = tokenizer("return maximum value")["input_ids"]
    code = tokenizer("def max(a,b): if a>b: return a else return b")["input_ids"]
    assert [*sentence, *code[1:]] == [
        0, 30921, 4532, 923, 2, 9232, 19220, 1640, 102, 6, 428, 3256, 114, 10, 15698, 428, 35, 671, 10, 1493,
        671, 741, 2,
    ]  # fmt: skip


def test_codet5s_ids_are_its_vocabularys(shared_data):
    folder = shared_data / "tokenizers" / "codet5"
    vocabulary = json.loads((folder / "codet5-vocab.json").read_text(encoding="utf-8"))
    pieces = ["<s>", "def", "Ġmax", "(", "a", ",", "b", "):", "Ġreturn", "Ġa", "</s>"]
    tokenizer = loading.load_tokenizer(folder)
    assert tokenizer("def max(a,b): return a")["input_ids"] == [vocabulary[piece] for piece in pieces]
    special = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in special} == special


@pytest.mark.parametrize("files", [{"tokenizer_config.json": '{"tokenizer_class": "RobertaTokenizer"}'}, {}])
def test_vocabulary_in_a_model_folder(shared_data, t5_folder, tmp_path, files):
    """As the hub keeps CodeT5: a T5's config beside RoBERTa's kind of vocabulary."""
    published = shared_data / "tokenizers" / "codet5"
    shutil.copy(published / "codet5-vocab.json", tmp_path / "vocab.json")
    shutil.copy(published / "codet5-merges.txt", tmp_path / "merges.txt")
    shutil.copy(t5_folder / "config.json", tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    tokenizer = loading.load_tokenizer(tmp_path)
    assert tokenizer(CODE)["input_ids"] == loading.load_tokenizer(published)(CODE)["input_ids"]


def test_a_tokenizer_without_template_is_given_one(shared_data):
    tokenizer = loading.load_tokenizer(shared_data / "models" / "tiny_codebert_bcb_hf")
    ids = tokenizer(["x = 1", ""])["input_ids"]
    assert (ids[0][0], ids[0][-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert ids[1] == [tokenizer.bos_token_id, tokenizer.eos_token_id]
    cut = tokenizer("x = 1 + y" * 10, truncation=True, max_length=5)["input_ids"]
    assert len(cut) == 5 and cut[-1] == tokenizer.eos_token_id


def test_tokenizer_is_literal_and_has_no_limit(folder, family):
    tokenizer = loading.load_tokenizer(folder)
    ids = tokenizer("a <pad> b")["input_ids"]
    assert tokenizer.pad_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a <pad> b"
    assert tokenizer.model_max_length > 10**6


def test_no_tokenizer_is_an_error(tmp_path):
    with pytest.raises(CodeftError, match="can't read a tokenizer in"):
        loading.load_tokenizer(tmp_path)


def test_a_config_without_vocabulary_is_an_error(tmp_path, folder):
    shutil.copy(folder / "config.json", tmp_path)
    with pytest.raises(CodeftError, match=r"has no vocabulary|can't read a tokenizer"):
        loading.load_tokenizer(tmp_path)


def test_damaged_tokenizer_is_an_error(tmp_path, t5_folder):
    (tmp_path / "tokenizer.json").write_text((t5_folder / "tokenizer.json").read_text()[:500])
    with pytest.raises(CodeftError, match="can't read a tokenizer"):
        loading.load_tokenizer(tmp_path)


def test_tokenizer_larger_than_the_embeddings_is_an_error(t5_folder):
    tokenizer = loading.load_tokenizer(t5_folder)
    loading.check_vocabulary(tokenizer, vocab_size=420, source="x")
    with pytest.raises(CodeftError, match=r"go up to 419, but the embeddings of x have 419 rows"):
        loading.check_vocabulary(tokenizer, vocab_size=419, source="x")
    for source, given, advice in (
        ("random", None, r"the random weights have 419 rows: set model\.architecture\.vocab_size=420"),
        ("x", "y", r"leave model\.tokenizer=y away"),
        ("x", None, r"beside the weights isn't the one .* give that one, model\.tokenizer="),
    ):
        with pytest.raises(CodeftError, match=advice):
            loading.check_vocabulary(tokenizer, vocab_size=419, source=source, given=given)


def test_remote_code_is_refused_without_asking(t5_folder, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(t5_folder, folder)
    (folder / "config.json").write_text('{"model_type": "own"}')  # else the family's own class is taken
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {
        "tokenizer_class": "OwnTokenizer",
        "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]},
    }
    path.write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('run')")
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("the user was asked"))
    with pytest.raises(CodeftError, match=r"own.py.*so there is no model.trust_remote_code"):
        loading.load_tokenizer(folder)


@pytest.mark.parametrize("network", ["RobertaModel", "T5ForConditionalGeneration"])
def test_a_network_of_its_own_code_is_refused(t5_folder, tmp_path, network):
    folder = shutil.copytree(t5_folder, tmp_path / "model")
    config = {"model_type": "own", "auto_map": {"AutoModel": "own.OwnModel", "AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('run')")
    with pytest.raises(CodeftError, match=r"code of its own to run .*never by such code"):
        networks.load_network(getattr(transformers, network), folder, overrides={}, essential="x")


def test_a_network_that_transformers_has_itself_needs_no_code(t5_folder, tmp_path):
    folder = shutil.copytree(t5_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('run')")
    assert EncoderDecoderModel(weights=str(folder)).vocab_size == 420


@pytest.mark.parametrize(
    "named", ["LlamaTokenizerFast", "LlamaTokenizer", "Qwen2TokenizerFast", "GPT2Tokenizer"]
)
def test_a_tokenizer_splits_as_its_file_says_whatever_its_class(t5_folder, tmp_path, named):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(t5_folder / name, tmp_path / name)
    said = json.loads((tmp_path / "tokenizer_config.json").read_text())
    said = {key: said[key] for key in ("eos_token", "pad_token", "unk_token")} | {"tokenizer_class": named}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    text = "def f(a, b):\n    return a  +  b\n"
    written = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    found = loading.load_tokenizer(tmp_path)(text, add_special_tokens=False)["input_ids"]
    assert found == written.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(("key", "role"), [("pad_token", "pads"), ("eos_token", "ends texts")])
@pytest.mark.parametrize("number", [0, -1])
def test_a_special_token_that_texts_hold_is_refused(t5_folder, tmp_path, key, role, number):
    pieces = loading.load_tokenizer(t5_folder).get_vocab()
    token = sorted((piece for piece in pieces if piece.isascii() and piece.isalpha()), key=len)[number]
    folder = shutil.copytree(t5_folder, tmp_path / "copied")
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: token}))
    with pytest.raises(CodeftError, match=f"{role} with '{token}', which texts hold too and would lose"):
        loading.load_tokenizer(folder)


def test_a_tokenizer_with_code_of_its_own_is_answered_in_our_words(t5_folder, tmp_path):
    folder = shutil.copytree(t5_folder, tmp_path / "copied")
    said = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    (folder / "config.json").unlink()
    with pytest.raises(CodeftError, match=r"needs no code \(model.tokenizer=\)") as caught:
        loading.load_tokenizer(folder)
    assert "\n" not in str(caught.value) and "Please pass" not in str(caught.value)
