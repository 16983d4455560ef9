"""Tokens: padding, mask and truncation of the one tokeniser call."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.tokens import TextTokenizer, pad
from tests.builders import SPECIAL_TOKENS, a_tokenizer_json

PAD, CLS, SEP = (SPECIAL_TOKENS.index(token) for token in ("[PAD]", "[CLS]", "[SEP]"))


@pytest.fixture
def tokenizer() -> TextTokenizer:
    """Give a tokenizer that cuts at 8 tokens."""
    return TextTokenizer(a_tokenizer_json(), max_tokens=8)


def test_texts_are_padded_to_the_longest(tokenizer: TextTokenizer) -> None:
    """The mask is 1 where a token is and 0 where padding is."""
    tokens = tokenizer(["team", "team wins the cup"])
    assert tokens.ids.shape == tokens.mask.shape == (2, 6)
    assert tokens.mask.tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert tokens.ids[0, 3:].tolist() == [PAD] * 3
    assert tokens.ids.dtype == tokens.mask.dtype == np.int64


def test_texts_are_cut_at_max_tokens_with_their_special_tokens(tokenizer: TextTokenizer) -> None:
    """A long text keeps its first and last special token."""
    (row,) = tokenizer.rows(["team " * 50])
    assert len(row) == 8
    assert (row[0], row[-1]) == (CLS, SEP)


def test_a_text_has_the_same_tokens_in_any_company(tokenizer: TextTokenizer) -> None:
    """Rows do not depend on the other texts, nor on an earlier call."""
    texts = ["team", "", "vote " * 20, "漢字", "zzz"]
    assert tokenizer.rows(texts) == [tokenizer.rows([text])[0] for text in texts]


def test_no_texts_give_no_rows(tokenizer: TextTokenizer) -> None:
    """An empty list is no error."""
    assert tokenizer.rows([]) == []
    assert tokenizer([]).ids.shape == (0, 1)


def test_a_text_without_words_has_special_tokens_only(tokenizer: TextTokenizer) -> None:
    """Nothing to read is still something to encode."""
    assert tokenizer.rows([""]) == [[CLS, SEP]]


def test_the_padding_of_the_file_does_not_count() -> None:
    """Padding and truncation written into tokenizer.json are replaced by ours."""
    from tokenizers import Tokenizer

    padded = Tokenizer.from_buffer(a_tokenizer_json())
    padded.enable_padding(length=64)
    padded.enable_truncation(3)
    tokenizer = TextTokenizer(padded.to_str().encode(), max_tokens=8)
    assert [len(row) for row in tokenizer.rows(["team wins the cup", "team"])] == [6, 3]


@pytest.mark.parametrize(("token", "expected"), [("[PAD]", 1), ("<pad>", 1), ("[NONE]", 0)])
def test_the_padding_token_is_found_by_name(token: str, expected: int) -> None:
    """BERT's and RoBERTa's names are known; without either, 0 pads (the mask hides it)."""
    from tokenizers import Tokenizer, models

    model = models.WordLevel({"[UNK]": 0, token: 1}, unk_token="[UNK]")
    assert TextTokenizer(Tokenizer(model).to_str().encode(), 8).pad_id == expected


def test_the_size_of_the_vocabulary_is_known(tokenizer: TextTokenizer) -> None:
    """No id is as large as the vocabulary."""
    ids = tokenizer(["team wins 2 cups!"]).ids
    assert 0 <= ids.min() <= ids.max() < tokenizer.vocabulary


@given(st.lists(st.lists(st.integers(1, 99), max_size=6), max_size=6))
def test_padding_loses_nothing(rows: list[list[int]]) -> None:
    """Masked-in ids are the rows, all others the padding id."""
    tokens = pad(rows, PAD)
    assert [
        ids[mask == 1].tolist() for ids, mask in zip(tokens.ids, tokens.mask, strict=True)
    ] == rows
    assert (tokens.ids[tokens.mask == 0] == PAD).all()


THREADS_OF_A_CALL = """
import sys
from pathlib import Path

from contract.tokens import TextTokenizer

tokenizer = TextTokenizer(Path(sys.argv[1]).read_bytes(), 32)
tokenizer.rows(["team wins the cup"] * 2_000)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("Threads")))
"""


@pytest.mark.parametrize("spread", ["", "true"])
def test_a_call_stays_on_its_thread(tmp_path: Path, spread: str) -> None:
    """Unless the environment says that calls be spread over all cores."""
    (tmp_path / "tokenizer.json").write_bytes(a_tokenizer_json())
    others = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    found = subprocess.run(
        [sys.executable, "-c", THREADS_OF_A_CALL, str(tmp_path / "tokenizer.json")],
        # NumPy's own threads are another matter.
        env={
            **others,
            "OPENBLAS_NUM_THREADS": "1",
            **({"TOKENIZERS_PARALLELISM": spread} if spread else {}),
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (int(found.stdout) == 1) is (not spread or os.cpu_count() == 1)
