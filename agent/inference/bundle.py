"""A bundle's folder, opened: its manifest and its model's file. Light: its arrays are read by `arrays.py`.

Decides: which files may be read (only those inside the folder). Leaves out: digests, which are verified when a bundle
is fetched, before it is ever opened.
"""

from dataclasses import dataclass
from pathlib import Path

from agent.errors import BadBundle, NotFound
from wire.artifact import MANIFEST_PATH
from wire.errors import WireError
from wire.manifest import LARGEST_MANIFEST_BYTES, BundleManifest, read_bundle_manifest


@dataclass(frozen=True)
class Bundle:
    """A manifest and the folder that its paths are relative to."""

    root: Path
    manifest: BundleManifest

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Open the bundle in `folder`.

        Raises:
            NotFound: No folder, or no manifest in it.
            BadBundle: The manifest is none of a bundle.
        """
        try:
            return cls(folder, read_bundle_manifest(manifest_bytes(folder)))
        except WireError as exc:
            raise BadBundle(f"{folder / MANIFEST_PATH}: {exc}") from exc

    @property
    def model_path(self) -> Path:
        return confined(self.root, self.manifest.model_file)


def order_bundle(folder: Path | None, manifest: BundleManifest | None, root: Path | None) -> Bundle:
    """Return the bundle in `folder`, or the one that `manifest` describes under `root`.

    Raises:
        NotFound: No folder, or no manifest in it.
        BadBundle: The manifest is none of a bundle, or nothing is named.
    """
    if manifest is not None and root is not None:
        return Bundle(root, manifest)
    if folder is None:
        raise BadBundle("no bundle is named: give its folder, or a manifest and the root of its paths")
    return Bundle.open(folder)


def confined(root: Path, path: str) -> Path:
    """Return `path` under `root`, resolved.

    Raises:
        BadBundle: It leads out of the folder (also through a link), or is no file.
    """
    found = (root / path).resolve()
    if not found.is_relative_to(root.resolve()):
        raise BadBundle(f"path {path!r} leads out of {root}")
    if not found.is_file():
        raise BadBundle(f"{root} lacks the file {path!r} that its manifest names")
    return found


def manifest_bytes(folder: Path) -> bytes:
    """Return the bytes of the folder's manifest.

    Raises:
        NotFound: No folder, or no manifest in it.
        BadBundle: Too large.
    """
    path = folder / MANIFEST_PATH
    if not path.is_file():
        raise NotFound(f"{folder} holds no {MANIFEST_PATH}: give the folder of a bundle or data set")
    if path.stat().st_size > LARGEST_MANIFEST_BYTES:
        raise BadBundle(f"{path} is larger than {LARGEST_MANIFEST_BYTES} bytes")
    return path.read_bytes()
