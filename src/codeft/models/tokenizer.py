"""The mini model's tokenizer: byte-level BPE with T5's special tokens, trained on any texts."""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from codeft.types import CodeftError

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
NUM_SENTINELS = 100
NUM_BYTES = 256


def train_tokenizer(
    texts: Iterator[str], *, vocab_size: int, split_digits: bool = False
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer that reads code exactly and speaks T5's special tokens.

    Ids: `<pad>` 0, `</s>` 1, `<unk>` 2, then the 256 bytes and the merges, then `<extra_id_0>` to
    `<extra_id_99>` as the last 100. Every encoding ends with `</s>`. Offsets are characters and keep the
    blank that a token begins with. Text that happens to read like a special token (`"</s>"` in a program)
    is encoded as plain characters, here and after the tokenizer was saved and loaded: special tokens
    enter by id only.

    Args:
        texts: Documents; consumed once.
        vocab_size: Size of the whole vocabulary, special tokens included; at least 359.
        split_digits: Whether each digit stands alone, so that no number is a token of its own.

    Returns:
        A tokenizer with exactly `vocab_size` ids; what its `save_pretrained` writes, `AutoTokenizer` loads.

    Raises:
        CodeftError: `vocab_size` has no room for bytes and special tokens, or the texts don't repeat
            themselves enough to fill it.
    """
    smallest = 3 + NUM_BYTES + NUM_SENTINELS
    if vocab_size < smallest:
        raise CodeftError(
            f"vocab_size must be at least {smallest} (bytes and special tokens), got {vocab_size}: raise it"
        )
    backend = Tokenizer(models.BPE())
    bytes_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = bytes_of_words
    if split_digits:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_of_words])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - NUM_SENTINELS,
        special_tokens=[PAD, EOS, UNK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    learned = backend.get_vocab_size() + NUM_SENTINELS
    if learned != vocab_size:
        raise CodeftError(
            f"the texts fill {learned} of the {vocab_size} ids asked for: give more text or lower vocab_size"
        )
    sentinels = [f"<extra_id_{i}>" for i in range(NUM_SENTINELS)]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in sentinels])
    backend.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        extra_special_tokens=sentinels,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )
