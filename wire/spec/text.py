"""Text: numbers of tokens, with the tokeniser that the bundle brings."""

from typing import Literal

from pydantic import Field

from wire.base import Message
from wire.spec.base import TensorSpec


class TextPre(Message):
    """UTF-8 text -> token numbers, mask and types of a fixed length, by the `tokenizers` library.

    A query is uint8 of shape (n,): the text's bytes; zero bytes at its end are padding, so that texts of several
    lengths can be stacked. In JSON it is a string. `tokeniser` is the bundle's `tokenizer.json`; the truncation and the
    padding that it asks for are left out, those said here are done. `truncate`: `error` refuses a text of more than
    `length` tokens, `right` drops its end, `left` its beginning; tokens that surround a text are kept. An empty text is
    answered where the tokeniser surrounds it with tokens; a text of which no token comes at all is refused.
    """

    kind: Literal["text"] = "text"
    tokeniser: str = Field(default="tokenizer.json", max_length=200)
    length: int = Field(ge=1, le=65_536)
    truncate: Literal["error", "right", "left"] = "right"
    pad_id: int = Field(default=0, ge=0)
    pad_side: Literal["right", "left"] = "right"
    special_tokens: bool = True
    largest_bytes: int = Field(default=65_536, ge=1, le=10_000_000)
    """A longer text is refused before it is tokenised."""
    input: TensorSpec
    """The token numbers: int32 or int64, shape (batch, length)."""
    mask: TensorSpec | None = None
    """1 for a token, 0 for padding."""
    types: TensorSpec | None = None
