"""Text as a published model's tokens, and utterances that a prompt may have before it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from data.published import ImportFailed


class Utterance(NamedTuple):
    """Something said before the prompt."""

    text: str
    codes: Integer[np.ndarray, "T Q"]  # its sound, in the columns that the model writes
    voice: str  # as the model names it

    def sound(self, books: int, entries: int) -> Integer[np.ndarray, "T Q"]:
        """The codes; raises ValueError if they are not of so many books and entries."""
        if self.codes.ndim != 2 or self.codes.shape[1] != books:
            raise ValueError(f"codes {list(self.codes.shape)}: here a frame has {books} of them")
        if self.codes.size and not 0 <= self.codes.min() <= self.codes.max() < entries:
            raise ValueError(f"codes that are not from 0 to {entries - 1}")
        return self.codes


class Tokenizer:
    """The folder's `tokenizer.json`."""

    def __init__(self, folder: Path):
        """Opens it.

        Raises:
            ImportFailed: There is none, or it cannot be read, or `tokenizers` is not installed.
        """
        path = folder / "tokenizer.json"
        if not path.exists():
            raise ImportFailed(
                f"{path}: none there; it is published beside the weights, and turns text into what "
                "the model reads"
            )
        try:
            import tokenizers
        except ImportError as error:
            raise ImportFailed(f"to read {path}: pip install 'voiceloom[pretrained]'") from error
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more special
            raise ImportFailed(f"{path}: damaged ({error}); get it again") from error
        self._path = path
        # A user's text is text: what looks like a control token in it is spelled out.
        self._tokenizer.encode_special_tokens = True

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def __call__(self, text: str) -> list[int]:
        """Its tokens, without any around them."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def control(self, name: str) -> int:
        """A control token; raises ImportFailed if there is no such one."""
        found = self._tokenizer.token_to_id(name)
        if found is None:
            raise ImportFailed(f"{self._path}: no token {name}: another model's tokenizer")
        return found
