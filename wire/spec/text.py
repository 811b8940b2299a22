"""Text: numbers of tokens, with the tokeniser that the bundle brings."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.spec.base import RANGES, TensorSpec

UNKNOWN_TEXT = "\ue000 \ua66e zqxjkv0"
"""Words that hardly any vocabulary has: what a tokeniser makes of them is tried before it is used."""


class TextPre(Message):
    """UTF-8 text -> token numbers, mask and types of a fixed length, by the `tokenizers` library.

    A query is uint8 of shape (n,): the text's bytes; zero bytes at its end are padding, so that texts of several
    lengths can be stacked. In JSON it is a string. `tokeniser` is the bundle's `tokenizer.json`; the truncation and the
    padding that it asks for are left out, those said here are done. `truncate`: `error` refuses a text of more than
    `length` tokens, `right` drops its end, `left` its beginning; tokens that surround a text are kept. An empty text is
    answered where the tokeniser surrounds it with tokens; a text of which no token comes at all is refused. So is a
    tokeniser that has an unknown token which is not in its vocabulary, and a `pad_id` that is not there either.
    """

    kind: Literal["text"] = "text"
    tokeniser: str = Field(default="tokenizer.json", max_length=200)
    length: int = Field(ge=1, le=65_536)
    truncate: Literal["error", "right", "left"] = "right"
    pad_id: int = Field(default=0, ge=0, le=RANGES["int64"][1])
    """A token of the tokeniser's vocabulary, which the input's dtype holds."""
    pad_side: Literal["right", "left"] = "right"
    special_tokens: bool = True
    largest_bytes: int = Field(default=65_536, ge=1, le=10_000_000)
    """A longer text is refused before it is tokenised."""
    input: TensorSpec
    """The token numbers: int32 or int64, shape (batch, length)."""
    mask: TensorSpec | None = None
    """1 for a token, 0 for padding."""
    types: TensorSpec | None = None

    @model_validator(mode="after")
    def _padding_fits_the_input(self) -> Self:
        _, largest = RANGES.get(self.input.dtype, RANGES["int64"])
        if self.pad_id > largest:
            raise ValueError(
                f"pad_id is {self.pad_id}: the input {self.input.name!r} is {self.input.dtype}, at most {largest}"
            )
        return self
