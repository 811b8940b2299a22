"""The report's files: `reports/{deployment}/report.json` and `report.html` in the workspace."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from controller.report.build import Report, build_report
from controller.report.host import describe_host
from controller.store.database import Store
from controller.workspace import Workspace


@dataclass(frozen=True)
class ReportFiles:
    """Where a report lies."""

    html: Path
    json: Path


def write_report(store: Store, workspace: Workspace, deployment: str) -> ReportFiles:
    """Write both files of a deployment's report, replacing former ones.

    Raises:
        NotFound: No such deployment.
    """
    from controller.report.html import render_html

    report = read_report(store, deployment)
    folder = workspace.reports / deployment
    folder.mkdir(parents=True, exist_ok=True)
    files = ReportFiles(folder / "report.html", folder / "report.json")
    _replace(files.json, json.dumps(report, ensure_ascii=False, allow_nan=False))
    _replace(files.html, render_html(report))
    return files


def read_report(store: Store, deployment: str) -> Report:
    """Return the report of a deployment as a document."""
    with store.read() as session:
        return build_report(session, deployment, describe_host())


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
