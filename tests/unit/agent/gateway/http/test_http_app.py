"""What the interface answers, over a real Unix socket."""

import io
import json
import struct
from typing import Any

import numpy as np
import pytest

from agent.gateway.base import Outcome, Query
from agent.gateway.http.problems import KINDS
from tests.unit.agent.gateway.http.http_kit import ANSWER, Got, Served

PREDICT = "/v1/workloads/main/predict"
NPY, RAW = "application/x-npy", "application/octet-stream"


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def check_problem(got: Got, status: int, reason: str) -> None:
    assert (got.status, got.document["reason"], got.document["status"]) == (status, reason, status)
    assert got.headers["content-type"] == "application/problem+json"
    assert got.document["type"] == f"urn:thresher:reason:{reason}"
    assert got.document["title"]
    assert got.document["detail"]


def test_the_front_page_lists_what_there_is(served: Served) -> None:
    got = served.ask("GET", "/")
    assert got.status == 200
    assert "/v1/workloads/NAME/predict" in got.content.decode()
    assert served.ask("HEAD", "/").content == b""


def test_workloads_are_described(served: Served) -> None:
    served.lanes["soil"].ready = False
    listed = served.ask("GET", "/v1/workloads").document["workloads"]
    assert [(each["workload"], each["ready"]) for each in listed] == [("main", True), ("soil", False)]
    one = served.ask("GET", "/v1/workloads/main").document
    assert one == listed[0]
    assert one["pipeline"] == {"pre": {"kind": "series"}}


def test_health_is_that_of_all_workloads(served: Served) -> None:
    well = served.ask("GET", "/v1/health")
    served.lanes["soil"].ready = False
    unwell = served.ask("GET", "/v1/health")
    assert (well.status, well.document) == (200, {"ready": True, "workloads": {"main": True, "soil": True}})
    assert (unwell.status, unwell.document) == (503, {"ready": False, "workloads": {"main": True, "soil": False}})


@pytest.mark.parametrize(
    ("body", "content_type", "parameters", "query"),
    [
        (b'{"query": [[1, 2.5], [3, 4]]}', "application/json", "", Query(b"[[1, 2.5], [3, 4]]", "json")),
        (b' {\n"query":[1] } \n', "application/json; charset=utf-8", "", Query(b"[1]", "json")),
        (b'{"queries":[[1],[2]]}', "Application/JSON", "", Query(b"[[1],[2]]", "json", batch=True)),
        (b'{"query": "so \\"good\\"}"} ', "application/json", "", Query(b'"so \\"good\\"}"', "json")),
        (b'{"queries": ["a", "b"]}', "application/json", "", Query(b'["a", "b"]', "json", batch=True)),
        (npy(np.zeros(2)), NPY, "", Query(npy(np.zeros(2)), "npy")),
        (npy(np.zeros((2, 2))), NPY, "?batch=1", Query(npy(np.zeros((2, 2))), "npy", batch=True)),
        (bytes(24), RAW, "?dtype=float32&shape=3,2", Query(bytes(24), "raw", "float32", (3, 2))),
        (bytes(8), RAW, "?shape=1&dtype=int64&batch=0", Query(bytes(8), "raw", "int64", (1,))),
    ],
)
def test_a_query_goes_to_the_lane_undecoded(
    served: Served, body: bytes, content_type: str, parameters: str, query: Query
) -> None:
    got = served.ask("POST", PREDICT + parameters, body, Content_Type=content_type)
    assert got.status == 200
    [asked] = served.lane.asked
    assert asked.waits
    for name in ("payload", "encoding", "batch", *(("dtype", "shape") if query.encoding == "raw" else ())):
        assert getattr(asked, name) == getattr(query, name)


def test_an_answer_says_who_gave_it_and_how_long_it_took(served: Served) -> None:
    document = served.predict({"query": [1, 2]}).document
    assert document == {
        "workload": "main",
        "bundle": "b" * 64,
        "answers": [ANSWER],
        "times_ms": {"pre": 1.0, "infer": 2.5, "post": 0.05, "total": 4.0},
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1, 2]",
        b'"query"',
        b'{"query": 3}',
        b'{"query": {}}',
        b'{"query": [1, 2]',
        b'{"input": [1, 2]}',
        b'{"query": []} and more',
        b"\xff\xfe",
    ],
)
def test_a_body_that_is_no_query_is_refused(served: Served, body: bytes) -> None:
    check_problem(served.predict(body), 400, "bad_request")
    assert served.lane.asked == []


def test_a_second_member_never_reaches_a_worker_as_json(served: Served) -> None:
    """The text between the ends goes to the worker, which refuses it: it is no JSON."""
    assert served.predict(b'{"query": [1], "queries": [2]}').status == 200  # the scripted lane decodes nothing
    with pytest.raises(ValueError, match="Extra data"):
        json.loads(served.lane.asked[0].payload)


@pytest.mark.parametrize(
    ("content_type", "parameters", "said"),
    [
        (RAW, "", "dtype"),
        (RAW, "?dtype=object&shape=1", "dtype"),
        (RAW, "?dtype=float64&shape=", "shape"),
        (RAW, "?dtype=float64&shape=-1", "shape"),
        (RAW, "?dtype=float64&shape=1,1,1,1,1,1,1,1,1", "shape"),
        (RAW, "?dtype=float64&shape=99999999999", "shape"),
        (RAW, "?dtype=float64&shape=9999999999,9999999999", "takes"),
        (RAW, "?dtype=float64&shape=2", "takes 16"),
        (RAW, "?dtype=float64&shape=1&batch=yes", "batch"),
        (RAW, "?dtype=float64&shape=1&shape=1", "twice"),
        (RAW, "?dtype=float64&shape=1&verbose=1", "verbose"),
        (RAW, "?dtype", "cannot be read"),
        (RAW, "?%ff=1", "not known"),
        (RAW, "?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1", "fields"),
        (NPY, "?batch=1", "numpy.save"),
        ("application/json", "?batch=1", "batch"),
    ],
)
def test_parameters_are_checked(served: Served, content_type: str, parameters: str, said: str) -> None:
    got = served.ask("POST", PREDICT + parameters, bytes(8), Content_Type=content_type)
    check_problem(got, 400, "bad_request")
    assert said in got.document["detail"]


def test_other_forms_are_refused(served: Served) -> None:
    """A form, a text and a body without a type: what a web page may send without being asked first."""
    for headers in ({"Content_Type": "text/plain"}, {"Content_Type": "multipart/form-data; boundary=x"}, {}):
        got = served.ask("POST", PREDICT, b'{"query": [1]}', **headers)
        check_problem(got, 415, "wrong_content_type")
        assert "application/x-npy" in got.document["detail"]


def test_what_is_not_there_is_named_with_what_is(served: Served) -> None:
    check_problem(served.ask("GET", "/v2"), 404, "not_found")
    check_problem(served.ask("GET", "/v1/workloads/"), 404, "not_found")
    got = served.predict({"query": [1]}, workload="mian")
    check_problem(got, 404, "not_found")
    assert "'mian'; there are: main, soil" in got.document["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", PREDICT, "POST"), ("DELETE", "/v1/workloads/main", "GET, HEAD"), ("OPTIONS", "/", "GET, HEAD")],
)
def test_other_methods_are_refused(served: Served, method: str, path: str, allowed: str) -> None:
    got = served.ask(method, path)
    check_problem(got, 405, "method_not_allowed")
    assert got.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("bad_query", 422),
        ("batch_too_long", 413),
        ("query_out_of_memory", 413),
        ("queue_full", 429),
        ("no_worker", 503),
        ("query_timeout", 504),
        ("worker_ended", 500),
        ("a_reason_of_tomorrow", 500),
    ],
)
def test_a_query_that_is_not_answered_says_why(served: Served, reason: str, status: int) -> None:
    served.lane.outcome = Outcome(reason=reason, detail="so it was")
    got = served.predict({"query": [1]})
    check_problem(got, status, reason)
    assert got.document["detail"] == "so it was"
    assert ("retry-after" in got.headers) == (reason in KINDS and KINDS[reason].again)


def test_a_fault_of_the_gateway_is_told_and_survived(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.lane.fault = ZeroDivisionError("a fault")
    check_problem(served.predict({"query": [1]}), 500, "internal_error")
    assert "ZeroDivisionError: a fault" in caplog.text
    served.lane.fault = None
    assert served.predict({"query": [1]}).status == 200


def test_a_large_body_is_refused_before_it_is_sent(served: Served) -> None:
    connection = served.connection()
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1000000000000")
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert response.getheader("connection") == "close"
    assert "65536 are allowed" in json.loads(response.read())["detail"]
    connection.close()


def test_a_large_body_that_is_sent_all_the_same_does_not_keep_the_client_from_reading_why(served: Served) -> None:
    got = served.ask("POST", PREDICT, bytes(4_000_000), Content_Type="application/json")
    check_problem(got, 413, "too_large")


def test_a_body_without_a_length_is_cut_where_it_becomes_too_large(served: Served) -> None:
    chunks = (bytes(10_000) for _ in range(100))
    got = served.ask("POST", PREDICT, chunks, Content_Type="application/json")
    check_problem(got, 413, "too_large")
    assert served.lane.asked == []


def test_a_body_in_chunks_is_read(served: Served) -> None:
    chunks = iter([b'{"que', b'ry": [1', b", 2]}"])
    got = served.ask("POST", PREDICT, chunks, Content_Type="application/json")
    assert got.status == 200
    assert served.lane.asked[0].payload == b"[1, 2]"


def test_bodies_of_many_requests_share_the_memory_that_there_is(served: Served) -> None:
    """Two of the largest bodies wait; a third finds no room, and finds it once they are answered."""
    served.lane.outcome = None
    large = b'{"query": [' + b"1," * 32_000 + b"1]}"
    waiting = [served.connection() for _ in range(2)]
    for connection in waiting:
        connection.request("POST", PREDICT, large, {"Content-Type": "application/json"})
    served.until(lambda: len(served.lane.asked) == 2)
    check_problem(served.predict(large), 503, "too_busy")

    async def answer() -> None:
        for future in served.lane.futures:
            future.set_result(Outcome())

    served.do(answer())
    assert [connection.getresponse().status for connection in waiting] == [200, 200]
    served.lane.outcome = Outcome()
    assert served.predict(large).status == 200
    for connection in waiting:
        connection.close()


def test_a_client_that_leaves_withdraws_its_query(served: Served) -> None:
    served.lane.outcome = None
    connection = served.connection()
    connection.request("POST", PREDICT, b'{"query": [1]}', {"Content-Type": "application/json"})
    [future] = served.until(lambda: served.lane.futures)
    assert not future.cancelled()
    connection.close()
    assert served.until(future.cancelled)


def test_a_connection_is_kept_for_the_next_request(served: Served) -> None:
    connection = served.connection()
    for _ in range(3):
        connection.request("POST", PREDICT, b'{"query": [1]}', {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read())["answers"] == [ANSWER]
    connection.request("POST", PREDICT, b"[", {"Content-Type": "application/json"})
    assert connection.getresponse().read()
    connection.request("GET", "/v1/health")
    assert connection.getresponse().status == 200
    connection.close()
    assert len(served.lane.asked) == 3


def test_answers_carry_the_date_and_no_name_of_a_server(served: Served) -> None:
    headers = served.ask("GET", "/").headers
    assert headers["date"].endswith(" GMT")
    assert "server" not in headers


def test_the_values_of_an_answer_are_json_even_where_a_lane_slips(served: Served) -> None:
    served.lane.outcome = Outcome(answers=({"classes": [], "labels": [], "values": [float("nan")]},))
    check_problem(served.predict({"query": [1]}), 500, "internal_error")


def test_npy_and_raw_hold_what_numpy_wrote(served: Served) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    served.ask("POST", PREDICT, npy(array), Content_Type=NPY)
    served.ask("POST", f"{PREDICT}?dtype=float32&shape=2,3", array.tobytes(), Content_Type=RAW)
    as_file, as_bytes = served.lane.asked
    assert np.array_equal(np.load(io.BytesIO(as_file.payload)), array)
    assert struct.unpack("<6f", as_bytes.payload) == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
