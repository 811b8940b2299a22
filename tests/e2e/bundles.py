"""Bundles of the reference model for tests; a bad one differs from a good one in what the test is about."""

from dataclasses import replace
from typing import Any

import numpy as np

from controller.bundle.artifacts import ArtifactStore
from controller.bundle.pack import file_entries, pack_bundle
from controller.compress.variant import Variant, baseline_variant
from controller.models.folder import ModelFolder


class Bundles:
    """Packs bundles of `leaf_outline` into a store."""

    def __init__(self, model: ModelFolder, golden_inputs: Any, golden_outputs: Any) -> None:
        self._model = model
        self._inputs = golden_inputs
        self._outputs = golden_outputs

    def good(self, store: ArtifactStore, name: str, *, padding_bytes: int = 0) -> str:
        """Pack a bundle that works; another `name` gives another digest, padding of its own a longer download."""
        digest = self._pack(store, self._variant(name), self._outputs)
        if not padding_bytes:
            return digest
        manifest, folder = store.manifest(digest), store.folder(digest)
        contents = {file.path: (folder / file.path).read_bytes() for file in manifest.files}
        contents["padding.bin"] = np.random.default_rng([7, *name.encode()]).bytes(padding_bytes)
        padded = manifest.model_copy(update={"files": file_entries(contents)})
        return store.add(padded, contents).digest

    def slow_to_test(self, store: ArtifactStore, name: str) -> str:
        """Pack a bundle whose self-test takes seconds: many golden inputs."""
        inputs, outputs = np.tile(self._inputs, (64, 1, 1)), np.tile(self._outputs, (64, 1))
        variant = self._variant(name)
        return pack_bundle(variant, self._model, inputs, outputs, evaluation_digest=None, store=store).digest

    def wrong_golden(self, store: ArtifactStore, name: str) -> str:
        """Pack a bundle whose model does not give the golden outputs that it claims."""
        return self._pack(store, self._variant(name), np.roll(self._outputs, 1, axis=1) + 3.0)

    def for_engine(self, store: ArtifactStore, name: str, engine: str) -> str:
        """Pack a bundle that asks for an engine which no device here has."""
        return self._pack(store, replace(self._variant(name), engine=engine), self._outputs)

    def _variant(self, name: str) -> Variant:
        return replace(baseline_variant(self._model), name=name)

    def _pack(self, store: ArtifactStore, variant: Variant, outputs: Any) -> str:
        packed = pack_bundle(variant, self._model, self._inputs, outputs, evaluation_digest=None, store=store)
        return packed.digest
