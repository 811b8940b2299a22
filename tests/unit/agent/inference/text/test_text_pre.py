"""Text into numbers of tokens: what is cut, padded, and refused."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BadBundle, BadQuery, EngineUnavailable
from agent.inference.pre import Place, make_pre
from agent.inference.pre.text import Text, asked, text_of
from controller.models.preprocess.text import token_inputs
from tests.unit.agent.inference.text import kit
from wire.spec import TextPre
from wire.spec.text import UNKNOWN_TEXT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.save_tokeniser(tmp_path_factory.mktemp("bundle") / "tokenizer.json").parent


def made(pre: TextPre, folder: Path | None) -> Text:
    shapes = dict.fromkeys(("ids", "mask", "types"), (-1, -1))
    found = make_pre(pre, Place(shapes, folder))
    assert isinstance(found, Text)
    return found


def taken(pre: TextPre, folder: Path, text: str) -> list[list[int]]:
    """Return what each input holds for a text."""
    prepared = made(pre, folder)
    prepared.prepare(kit.query(text))
    return [feed[0].tolist() for feed in prepared.feeds]


def test_numbers_mask_and_types(folder: Path) -> None:
    pre = kit.text_pre(types=kit.tensor("types", "int32"))
    assert taken(pre, folder, "very good") == [[2, 6, 4, 3, 0, 0], [1, 1, 1, 1, 0, 0], [0] * 6]
    assert [feed.dtype.name for feed in made(pre, folder).feeds] == ["int64", "int64", "int32"]


@pytest.mark.parametrize(
    ("fields", "text", "ids"),
    [
        ({"pad_side": "left", "pad_id": 7}, "bad", [7, 7, 7, 2, 5, 3]),
        ({"truncate": "right"}, "good bad bad bad bad very", [2, 4, 5, 5, 5, 3]),
        ({"truncate": "left"}, "good bad bad bad bad very", [2, 5, 5, 5, 6, 3]),
        ({"special_tokens": False}, "größe unheard", [8, 1, 0, 0, 0, 0]),
        ({}, "", [2, 3, 0, 0, 0, 0]),
    ],
)
def test_what_is_cut_and_padded(fields: dict[str, Any], text: str, ids: list[int], folder: Path) -> None:
    assert taken(kit.text_pre(**fields), folder, text)[0] == ids


@pytest.mark.parametrize(
    ("fields", "query", "says"),
    [
        ({"truncate": "error"}, kit.query("good bad bad bad bad"), "at most 6 tokens, given one of 7"),
        ({"special_tokens": False}, kit.query("  "), "no token comes"),
        ({"largest_bytes": 4}, kit.query("plain"), "at most 4 bytes, given 5"),
        ({}, np.array([103, 0xC3, 0x28], dtype=np.uint8), "expected UTF-8, byte 1 of 3"),
        ({}, np.array([103.5]), "no whole ones from 0 to 255"),
        ({}, np.array([np.nan, 5.0]), "no whole ones from 0 to 255"),
        ({}, np.array([300]), "no whole ones from 0 to 255"),
        ({}, np.zeros((2, 3), dtype=np.uint8), r"shape \(n,\), given uint8 of shape \(2, 3\)"),
        ({}, np.array(["good"]), "expected a text's bytes as uint8"),
    ],
)
def test_queries_that_are_refused(fields: dict[str, Any], query: Any, says: str, folder: Path) -> None:
    with pytest.raises(BadQuery, match=says):
        made(kit.text_pre(**fields), folder).prepare(query)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tokeniser": "absent.json"}, "lacks the file 'absent.json'"),
        ({"tokeniser": "../tokenizer.json"}, "leads out of"),
        ({"tokeniser": "broken.json"}, "no readable tokenizer.json"),
        ({"tokeniser": "binary.json"}, "no readable tokenizer.json"),
        ({"length": 2, "input": kit.tensor("ids").model_copy(update={"shape": (-1, 2)}), "mask": None}, "no room"),
        ({"input": kit.tensor("ids", "float32")}, "int32 or int64: the input 'ids' is float32"),
        ({"input": kit.tensor("ids").model_copy(update={"shape": (-1, 9)})}, "6 tokens do not fit the input 'ids'"),
    ],
)
def test_bundles_that_are_refused(fields: dict[str, Any], says: str, folder: Path) -> None:
    (folder / "broken.json").write_text('{"model": {}}')
    (folder / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BadBundle, match=says):
        made(kit.text_pre(**fields), folder)


@pytest.mark.parametrize("broken", kit.BROKEN)
def test_a_tokeniser_that_fails_at_unknown_words_is_no_bundle(broken: str, tmp_path: Path) -> None:
    kit.save_broken(tmp_path / "tokenizer.json", broken)
    with pytest.raises(BadBundle, match=r"tokenizer\.json fails at words that it does not know: .*unknown token"):
        made(kit.text_pre(), tmp_path)


def test_a_tokeniser_whose_library_panics_is_no_bundle(tmp_path: Path) -> None:
    """The error of a panic is none of `Exception`: it would end the worker."""
    written = json.loads(kit.tokeniser().to_str())
    written["post_processor"]["special_tokens"] = {}
    (tmp_path / "tokenizer.json").write_text(json.dumps(written))
    with pytest.raises(BadBundle, match=r"tokenizer\.json fails at words"):
        made(kit.text_pre(), tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_is_no_fault_of_the_text_passes(error: type[BaseException]) -> None:
    def ended() -> None:
        raise error

    with pytest.raises(error):
        asked(ended)


def test_a_tokeniser_without_an_unknown_token_drops_what_it_does_not_know(tmp_path: Path) -> None:
    kit.save_letters(tmp_path / "tokenizer.json")
    pre = kit.text_pre(special_tokens=False)
    assert taken(pre, tmp_path, "abxa")[0] == [1, 2, 1, 0, 0, 0]
    with pytest.raises(BadQuery, match="no token comes"):
        made(pre, tmp_path).prepare(kit.query("xyz"))


def test_a_word_without_a_token_is_a_bad_query_and_the_next_text_is_answered(tmp_path: Path) -> None:
    """A vocabulary that happens to hold the words which are tried out."""
    kit.save_broken(tmp_path / "tokenizer.json", "words", UNKNOWN_TEXT.split())
    prepared = made(kit.text_pre(), tmp_path)
    with pytest.raises(BadQuery, match=r"the tokeniser refuses the text: .*\[UNK\]"):
        prepared.prepare(kit.query("unheard"))
    prepared.prepare(kit.query("good"))
    assert prepared.feeds[0][0, :2].tolist() == [4, 0]


def test_padding_that_is_no_token_is_refused_and_any_token_is_taken(folder: Path, tmp_path: Path) -> None:
    for number in (9, 2**40):
        with pytest.raises(BadBundle, match=rf"pad_id is {number}: expected a token of tokenizer\.json, which has no"):
            made(kit.text_pre(pad_id=number), folder)
    assert taken(kit.text_pre(pad_id=8), folder, "bad")[0] == [2, 5, 3, 8, 8, 8]
    kit.save_far(tmp_path / "tokenizer.json", 700)
    assert taken(kit.text_pre(pad_id=700), tmp_path, "far")[0] == [2, 700, 3, 700, 700, 700]


def test_a_token_s_number_that_the_input_does_not_hold_is_a_bad_query(tmp_path: Path) -> None:
    kit.save_far(tmp_path / "tokenizer.json", 2**32 - 1)
    prepared = made(kit.text_pre(input=kit.tensor("ids", "int32")), tmp_path)
    with pytest.raises(BadQuery, match="does not fit the input, which is int32"):
        prepared.prepare(kit.query("far"))


def test_without_a_bundle_there_is_no_tokeniser() -> None:
    with pytest.raises(BadBundle, match=r"'tokenizer\.json' is a file of the bundle"):
        made(kit.text_pre(), None)


def test_without_the_library_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(EngineUnavailable, match=r"thresher\[text\]"):
        made(kit.text_pre(), folder)


def test_rows_of_a_batch_are_written_in_place(folder: Path) -> None:
    rows = {"ids": np.full((2, kit.LENGTH), -1), "mask": np.full((2, kit.LENGTH), -1)}
    shapes = dict.fromkeys(rows, (-1, -1))
    second = make_pre(kit.text_pre(), Place(shapes, folder, {name: row[1:] for name, row in rows.items()}))
    second.prepare(kit.query("good"))
    assert rows["ids"].tolist() == [[-1] * 6, [2, 4, 3, 0, 0, 0]]
    assert rows["mask"].tolist() == [[-1] * 6, [1, 1, 1, 0, 0, 0]]


words = st.lists(st.sampled_from([*kit.WORDS, "other", "ß"]), max_size=12).map(" ".join)
few = settings(deadline=None, max_examples=40)


@few
@given(st.lists(words, min_size=1, max_size=4), st.sampled_from(["right", "left"]), st.sampled_from(["right", "left"]))
def test_the_controllers_numpy_gives_the_same(folder: Path, texts: list[str], truncate: str, pad_side: str) -> None:
    pre = kit.text_pre(truncate=truncate, pad_side=pad_side, types=kit.tensor("types", "int32"))
    prepared, sent = made(pre, folder), kit.queries([*texts, "x"])
    inputs = token_inputs(pre, sent.astype(np.float32), folder)
    for row, query in enumerate(sent):
        prepared.prepare(query)
        for tensor, feed in zip((pre.input, pre.mask, pre.types), prepared.feeds, strict=True):
            assert tensor is not None
            assert inputs[tensor.name][row].tolist() == feed[0].tolist()


@few
@given(st.text(max_size=30), st.integers(0, 5), st.sampled_from(["uint8", "float32", "int64"]))
def test_any_text_comes_back_from_its_bytes(text: str, padding: int, dtype: str) -> None:
    text = text.rstrip("\0").encode("utf-8", "ignore").decode()
    assert text_of(kit.query(text, padding).astype(dtype), 1000) == text
