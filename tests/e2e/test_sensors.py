"""Sensors end to end: `mosquitto_pub` publishes readings, `mosquitto_sub` shows the predictions of two workloads, and
they are those that the same bundles give offline on the same data."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.inference.bundle import Bundle
from agent.inference.pipeline import open_pipeline
from controller.bundle.pack import pack_bundle
from controller.compress.variant import baseline_variant
from controller.models.folder import ModelFolder
from controller.models.samples import evaluation_samples, golden_inputs
from controller.rollout.view import Phase
from tests.e2e.bundles import Bundles
from tests.e2e.test_mosquitto import PASSWORD, USER, Mosquitto
from tests.e2e.world import ROOT, World

pytestmark = pytest.mark.e2e

OUTLINES = 3
LOGIN = ("-u", USER, "-P", PASSWORD)


@pytest.fixture
def site(tmp_path: Path, kernel_cache: Path) -> Iterator[World]:
    programs = [shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto"), shutil.which("mosquitto_passwd")]
    if None in programs or shutil.which("mosquitto_pub") is None:
        pytest.skip("needs Debian's packages mosquitto and mosquitto-clients")
    broker = Mosquitto(tmp_path / "broker", str(programs[0]), str(programs[1]))
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    with World(tmp_path / "world", kernel_cache, broker=broker, login=(USER, secret)) as world:
        yield world


@pytest.fixture
def soil(site: World, tmp_path: Path) -> tuple[str, NDArray[np.float32]]:
    """A bundle of the soil model with its golden outputs, and the samples of its test split."""
    import onnxruntime

    model = ModelFolder.load(ROOT / "models" / "soil_carbon")
    inputs = golden_inputs(model, tmp_path / "golden", 8)
    normalise: Any = model.pipeline("onnx").pre
    mean, deviation = np.array(normalise.normalise.mean), np.array(normalise.normalise.deviation)
    session = onnxruntime.InferenceSession(str(model.file("onnx")), providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: ((inputs - mean) / deviation).astype(np.float32)}
    outputs = session.run(None, feeds)[0]
    packed = pack_bundle(baseline_variant(model), model, inputs, outputs, evaluation_digest=None, store=site.artifacts)
    return packed.digest, evaluation_samples(model, tmp_path / "samples").inputs


def test_readings_become_the_predictions_that_the_same_data_gives_offline(
    site: World, bundles: Bundles, soil: tuple[str, NDArray[np.float32]], leaf_model: ModelFolder, tmp_path: Path
) -> None:
    soil_bundle, rows = soil
    outlines = evaluation_samples(leaf_model, tmp_path / "samples").inputs[:OUTLINES]
    leaf_bundle = bundles.good(site.artifacts, "leaf")
    site.agent("barn-1", serve={"workloads": workloads(rows.shape[1], outlines.shape[-1])})
    deploy(site, {"leaf": leaf_bundle, "soil": soil_bundle})
    shown = Subscriber(site, "predictions/#")
    for number, outline in enumerate(outlines):  # each after the other: a broker keeps 1,000 messages, then drops
        publish(site, "barn/outline", [json.dumps(float(value)) for value in outline.reshape(-1)])
        shown.wait(site, number + 1)
    publish(site, "field/north/soil", ["not JSON", json.dumps({"t": time.time() + 9e9, **features(rows[0])})])
    publish(site, "field/north/soil", [json.dumps({"t": 1000.0 + n, **features(row)}) for n, row in enumerate(rows)])
    heard = shown.wait(site, OUTLINES + len(rows))

    leaf = [document for topic, document in heard if topic == "predictions/leaf/outline"]
    assert [document["classes"] for document in leaf] == [
        list(answer.classes) for answer in offline(site, leaf_bundle, outlines)
    ]
    found = [document for topic, document in heard if topic == "predictions/soil/soil"]
    expected = [list(answer.values) for answer in offline(site, soil_bundle, rows)]
    assert [document["values"] for document in found] == expected
    assert {document["bundle"] for document in found} == {soil_bundle}
    assert [document["origin"]["last_at_s"] for document in found] == [1000.0 + n for n in range(len(rows))]
    refused = site.watcher.wait("refused readings in the metrics", lambda: lost(site, "soil"))
    assert refused == {"reading_malformed": 1, "reading_from_future": 1}
    serves_again_after_a_kill(site, shown, outlines[0], rows[0])
    shown.close()


def serves_again_after_a_kill(site: World, shown: "Subscriber", outline: Any, row: NDArray[np.float32]) -> None:
    """A device with two workloads finds both of its bundles again."""
    seen, agent = shown.count, site.agents["barn-1"]
    agent.kill()
    agent.start()
    site.watcher.wait("both workers", lambda: len(agent.children()) == 2)

    def soil_answers() -> bool:
        publish(site, "field/north/soil", [json.dumps({"t": time.time(), **features(row)})])  # until it is subscribed
        return shown.count > seen

    site.watcher.wait("a prediction of soil", soil_answers)
    publish(site, "barn/outline", [json.dumps(float(value)) for value in outline.reshape(-1)])
    site.watcher.wait("a prediction of leaf", lambda: "predictions/leaf/outline" in shown.topics(seen))


def workloads(features: int, length: int) -> dict[str, Any]:
    def sink(workload: str) -> list[dict[str, Any]]:
        return [{"kind": "mqtt", "topic": "predictions/" + workload + "/{key}"}]

    leaf = {"kind": "mqtt", "topic": "barn/outline", "window": {"length": length}}
    names = [f"f{number}" for number in range(features)]
    soil = {"kind": "mqtt", "topic": "field/+/soil", "fields": names, "time_field": "t"}
    return {"leaf": {"source": leaf, "sinks": sink("leaf")}, "soil": {"source": soil, "sinks": sink("soil")}}


def deploy(site: World, bundles: dict[str, str]) -> None:
    service = site.service()
    for workload, bundle in bundles.items():
        rollout = site.rollout(service, bundle, ["barn-1"], workload=workload)
        site.phase(service, rollout, Phase.COMPLETED)


def features(row: NDArray[np.float32]) -> dict[str, float]:
    return {f"f{number}": float(value) for number, value in enumerate(row)}


def offline(site: World, bundle: str, queries: NDArray[np.float32]) -> list[Any]:
    """Return the answers of the bundle's own pipeline, without agent, gateway and broker."""
    pipeline = open_pipeline(Bundle.open(site.artifacts.folder(bundle)), threads=1)
    return [pipeline.answer(query.astype(np.float64)) for query in queries]


def lost(site: World, workload: str) -> dict[str, int]:
    found = [each for metrics in site.watcher.metrics for each in metrics.workloads if each.workload == workload]
    total: dict[str, int] = {}
    for each in found:
        for reason, count in each.lost_by_reason.items():
            total[reason] = total.get(reason, 0) + count
    return total if sum(total.values()) >= 2 else {}


def publish(site: World, topic: str, lines: Sequence[str]) -> None:
    command = ["mosquitto_pub", "-p", str(site.broker.port), *LOGIN, "-q", "1", "-t", topic, "-l"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, timeout=60)


class Subscriber:
    """A running `mosquitto_sub` and what it has shown."""

    def __init__(self, site: World, topic: str) -> None:
        command = ["mosquitto_sub", "-p", str(site.broker.port), *LOGIN, "-q", "1", "-t", topic, "-v", "-d"]
        self._process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=subprocess.PIPE, text=True)
        self._lines: list[str] = []
        assert self._process.stdout is not None
        while "SUBACK" not in (line := self._process.stdout.readline()):
            assert line, "mosquitto_sub ended"
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self, site: World, messages: int) -> list[tuple[str, dict[str, Any]]]:
        """Return (topic, document) of each message once there are so many."""
        site.watcher.wait(f"{messages} predictions", lambda: len(self._lines) >= messages)
        return [(line.split(" ", 1)[0], json.loads(line.split(" ", 1)[1])) for line in self._lines]

    @property
    def count(self) -> int:
        return len(self._lines)

    def topics(self, start: int) -> list[str]:
        """Return the topics of all messages but the first ones."""
        return [line.split(" ", 1)[0] for line in self._lines[start:]]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("predictions/"):
                self._lines.append(line)
