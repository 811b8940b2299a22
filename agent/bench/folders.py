"""A bundle's and an evaluation set's folder, as somebody names them to `agent bench`: whole, or refused.

Decides: that every file is what its manifest says. What a plan brings was verified as it was fetched; a folder that was
copied by hand was not, and its record would carry the digest of another bundle. Light: no numpy.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from agent.errors import BadBundle
from agent.inference.bundle import Bundle, confined, manifest_bytes
from wire.artifact import MANIFEST_PATH, FileEntry
from wire.base import decode
from wire.canonical import sha256_hex
from wire.errors import WireError
from wire.manifest import LARGEST_MANIFEST_BYTES, BundleManifest, DatasetManifest


def open_bundle(folder: Path) -> tuple[str, BundleManifest]:
    """Return digest and manifest of the bundle in `folder`; the digest is that of the manifest's bytes as they are.

    Raises:
        NotFound: No manifest there.
        BadBundle: The manifest is none of a bundle, or a file is missing or is not the one that it names.
    """
    manifest = Bundle.open(folder).manifest
    _check(folder, manifest.files)
    return sha256_hex(manifest_bytes(folder)), manifest


def open_set(folder: Path) -> tuple[str, DatasetManifest]:
    """Return digest and manifest of the evaluation set in `folder`.

    Raises:
        NotFound, BadBundle: As `open_bundle`.
    """
    content = manifest_bytes(folder)
    try:
        manifest = decode(DatasetManifest, content, LARGEST_MANIFEST_BYTES)
    except WireError as exc:
        raise BadBundle(f"{folder / MANIFEST_PATH}: {exc}; give the folder of an evaluation set") from exc
    _check(folder, manifest.files)
    return sha256_hex(content), manifest


def _check(folder: Path, files: Iterable[FileEntry]) -> None:
    for entry in files:
        path = confined(folder, entry.path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != entry.sha256:
            raise BadBundle(
                f"{path} differs from what the manifest says (SHA-256 {digest[:12]}, expected {entry.sha256[:12]}): "
                "copy the folder again"
            )
