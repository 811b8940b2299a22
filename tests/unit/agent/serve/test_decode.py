"""Bytes -> array: what is read, and that nothing is allocated for what a file's head only promises."""

import contextlib
import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from agent.errors import BadQuery
from agent.serve.decode import DTYPES, Form, decode_query, decode_value


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


ARRAYS = st_numpy.arrays(
    st.sampled_from(sorted(DTYPES)), st_numpy.array_shapes(min_dims=0, max_dims=4, max_side=5), fill=st.just(1)
)


@given(ARRAYS, st.booleans())
def test_what_numpy_saves_is_read(array: Any, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    found = decode_query(npy(array), "npy", "", [])
    assert found.dtype == array.dtype
    assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


@given(ARRAYS)
def test_plain_numbers_are_read(array: Any) -> None:
    header = {"encoding": "raw", "dtype": array.dtype.name, "shape": list(array.shape)}
    for found in (
        decode_query(array.tobytes(), "raw", array.dtype.name, list(array.shape)),
        Form(header).decode(memoryview(array.tobytes())),
    ):
        assert found.dtype == array.dtype
        assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"encoding": "raw", "dtype": "float64", "shape": [3]},
        {"encoding": "raw", "dtype": "object", "shape": [1]},
        {"encoding": "raw", "dtype": "float64", "shape": [-1, -1]},
        {"encoding": "raw", "dtype": "float64", "shape": ["1"]},
        {"encoding": "raw", "dtype": "float64", "shape": [1] * 9},
        {"encoding": "flight", "dtype": "float64", "shape": [1]},
    ],
)
def test_a_form_that_does_not_fit_is_a_bad_query(header: dict[str, Any]) -> None:
    with pytest.raises(BadQuery):
        Form(header).decode(memoryview(bytes(8)))


FINITE = st_numpy.arrays(
    np.float64,
    st_numpy.array_shapes(max_dims=3, max_side=4),
    elements=st.floats(allow_nan=False, allow_infinity=False),
)


@given(FINITE, st.sampled_from([None, 2]), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_nested_lists_of_numbers_are_read(array: Any, indent: int | None, mark: bytes) -> None:
    text = mark + json.dumps(array.tolist(), indent=indent).encode()
    np.testing.assert_array_equal(decode_query(text, "json", "", []), array)
    np.testing.assert_array_equal(decode_value(array.tolist()), array)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["1", "2", "nan"]', r"""'"1", "2", "nan"\]' at byte 1 is neither"""),
        ("[1, true, 3]", "'true, 3]' at byte 4"),
        ("[[1, 2], [false, 3]]", "'false, 3]]' at byte 10"),
        ("[null, 1]", "null"),
        ("[1, NaN]", "NaN"),
        ("[1, Infinity]", "Infinity"),
        ("[1, -Infinity]", "Infinity"),
        ('{"a": 1}', "neither a number nor a list"),
        ("[1e400, 2]", "number 1 of 2 is too large"),
        ("[[1, 2], [3, -1e999]]", "number 4 of 4 is too large"),
        ("[1" + 400 * "0" + "]", "too large"),
        ("[1" + 5000 * "0" + "]", "json"),
        ("[\u0661]", "at byte 1"),
    ],
)
def test_json_that_holds_anything_but_finite_numbers_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadQuery, match=said):
        decode_query(text.encode(), "json", "", [])


@pytest.mark.parametrize(
    "value",
    [["1", "2"], [True, 2], [[1.0, None]], [float("nan")], [float("inf")], [10**400], {"a": 1}, None, [["a"], "b"]],
)
def test_a_value_that_holds_anything_but_finite_numbers_is_refused(value: Any) -> None:
    with pytest.raises(BadQuery):
        decode_value(value)


@given(st.text().filter(lambda text: not text.endswith("\0")))
def test_a_text_becomes_its_bytes(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    for written in (json.dumps(text), " " + json.dumps(text, ensure_ascii=False) + "\n"):
        query = decode_query(written.encode(), "json", "", [])
        assert (query.ndim, query.dtype.kind, query.item()) == (0, "S", text.encode())
    assert decode_value(text).item() == text.encode()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'"\\ud800"', "surrogates not allowed"),
        (b'"a" "b"', "Extra data"),
        (b'"a', "Unterminated"),
        (b'"\xff"', "utf-8"),
    ],
)
def test_what_is_no_text_is_refused(payload: bytes, said: str) -> None:
    with pytest.raises(BadQuery, match=said):
        decode_query(payload, "json", "", [])


def test_texts_are_stacked_in_a_batch_and_nowhere_else() -> None:
    batch, single = Form({"encoding": "json", "batch": True}), Form({"encoding": "json"})
    assert batch.decode(b' [ "good", "", "gr\xc3\xb6\xc3\x9fer"]').tolist() == [b"good", b"", "größer".encode()]
    with pytest.raises(BadQuery, match="neither a number"):
        single.decode(b'["good", "bad"]')
    for faulty in (b'["a", 1]', b'["a", null]', b'["a"', b'["a", "\\udc00"]', b'["a", ["b"]]'):
        with pytest.raises(BadQuery, match="list of texts"):
            batch.decode(faulty)
    long = json.dumps([1000 * "x", *(4000 * [""])]).encode()
    assert batch.decode(long).shape == (4001,)
    with pytest.raises(BadQuery, match="300001 texts, the longest of 1000 bytes"):
        batch.decode(json.dumps([1000 * "x", *(300_000 * [""])]).encode())


@given(st.binary(max_size=200), st.sampled_from(["npy", "json", "raw"]))
def test_other_bytes_are_refused_or_read(payload: bytes, encoding: str) -> None:
    for content in (payload, b"\x93NUMPY" + payload, b"\x93NUMPY\x01\x00" + payload):
        with contextlib.suppress(BadQuery):
            assert isinstance(decode_query(content, encoding, "int8", [len(content)]), np.ndarray)


def head(**changes: Any) -> bytes:
    text = repr({"descr": "<f8", "fortran_order": False, "shape": (2,), **changes}).encode().ljust(116) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (head(shape=(10**12,)) + bytes(16), "promises 8000000000000 bytes"),
        (head(shape=(-1,)) + bytes(8), "promises -8 bytes"),
        (head() + bytes(24), "there are 24"),
        (head(descr="|O") + bytes(16), "of numbers"),
        (head(descr="<c16") + bytes(32), "of numbers"),
        (head(descr=[("a", "<f8")]) + bytes(16), "of numbers"),
        (b"\x93NUMPY\x03\x00" + bytes(200), "version"),
        (npy(np.zeros(2))[:-1], "there are 15"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(payload: bytes, said: str) -> None:
    with pytest.raises(BadQuery, match=said):
        decode_query(payload, "npy", "", [])


def test_a_query_that_takes_more_memory_than_the_worker_may_have_is_refused() -> None:
    program = (
        "import resource\n"
        "from agent.serve.decode import decode_query\n"
        "from agent.errors import BadQuery\n"
        "payload = b'[' + b'1.5,' * 4_000_000 + b'1]'\n"
        "now = int(open('/proc/self/statm').read().split()[5]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (now + 50_000_000, now + 50_000_000))\n"
        "try:\n"
        "    decode_query(payload, 'json', '', [])\n"
        "except BadQuery as exc:\n"
        "    print(exc)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "16000003 bytes (json) take more memory than there is\n"
