"""The files of a search's report: `report.json`, `report.html`, and `recipes/NAME.yaml` for each member of the front.

Decides: where they lie, and the line that makes the pick again. Leaves out: what they say (`build.py`, `page.py`).
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controller.report.compress.build import Document
from controller.report.compress.page import render_search

SCHEMA_LINE = "# Found by a search: controller model compress {model} --auto\n"


@dataclass(frozen=True)
class SearchFiles:
    """Where a search's report lies."""

    html: Path
    json: Path
    recipes: dict[str, Path]


def write_search(document: Document, folder: Path) -> tuple[Document, SearchFiles]:
    """Write the report of a search, replacing a former one.

    Args:
        document: From `build.search_report`.
        folder: Of this search's report.
    Returns:
        The document with the line that makes the pick again, and where everything lies.
    """
    recipes = {
        row["variant"]: _recipe(row, document, folder / "recipes") for row in document["finals"] if row["recipe"]
    }
    paths = {name: str(path) for name, path in recipes.items()}
    whole = {**document, "reproduce": _line(document, recipes), "recipes": paths}
    found = SearchFiles(folder / "report.html", folder / "report.json", recipes)
    _replace(found.json, json.dumps(whole, ensure_ascii=False, allow_nan=False))
    _replace(found.html, render_search(whole))
    return whole, found


def _recipe(row: dict[str, Any], document: Document, folder: Path) -> Path:
    path = folder / f"{row['recipe']['name']}.yaml"
    text = yaml.safe_dump(row["recipe"], sort_keys=False, allow_unicode=True, width=120)
    _replace(path, SCHEMA_LINE.format(model=document["model"]["identity"]) + text)
    return path


def _line(document: Document, recipes: dict[str, Path]) -> str | None:
    path = recipes.get(document["pick"] or "")
    return None if path is None else f"controller model compress {document['model']['identity']} --recipe {path}"


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
