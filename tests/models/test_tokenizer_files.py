from __future__ import annotations

import pytest

from codeft.models.loading import find_origin
from codeft.models.tokenizer_files import has_tokenizer
from codeft.types import CodeftError


@pytest.mark.parametrize(
    ("files", "has_one"),
    [
        (["tokenizer.json"], True),
        (["vocab.json", "merges.txt"], True),
        (["codet5-vocab.json", "codet5-merges.txt"], True),
        (["sentencepiece.bpe.model"], True),
        (["spiece.model"], True),
        (["cl100k_base.tiktoken"], True),
        (["vocab.txt"], True),
        (["vocab.json"], False),
        (["tokenizer_config.json", "special_tokens_map.json"], False),
        ([], False),
    ],
)
def test_weights_alone_bring_what_the_hubs_cache_would(tmp_path, files, has_one):
    for name in ("model.bin", *files):
        (tmp_path / name).touch()
    assert has_tokenizer(tmp_path) == has_one
    if has_one:
        origin = find_origin(weights=str(tmp_path), checkpoint=None, tokenizer=None)
        assert origin.tokenizer == str(tmp_path)
    else:
        with pytest.raises(CodeftError, match="come without their tokenizer"):
            find_origin(weights=str(tmp_path), checkpoint=None, tokenizer=None)


def test_a_link_that_leads_nowhere_is_none(tmp_path):
    (tmp_path / "tokenizer.json").symlink_to(tmp_path / "gone")
    assert not has_tokenizer(tmp_path)
