"""The tour in ``apps/operations.ipynb``: it runs on a running demo, from its first cell to its last."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from support.demo import running_demo

import opsdash

NOTEBOOK = Path(__file__).parents[2] / "apps" / "operations.ipynb"
SURFACE = {"audit", "connect", "preview", "queues", "workers"}
"""What the tour uses of ``ops``."""


@pytest.fixture
def tour() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code(tour: nbformat.NotebookNode) -> Iterator[ast.Module]:
    for cell in tour.cells:
        if cell.cell_type == "code":
            yield ast.parse(cell.source)


def test_the_tour_names_public_names_only(tour: nbformat.NotebookNode) -> None:
    used = {"opsdash": set(), "ops": set()}
    for module in code(tour):
        for node in ast.walk(module):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in used:
                used[node.value.id].add(node.attr)
    assert used["opsdash"] <= set(opsdash.__all__)
    assert {"WorkerHealth", "QueueTable", "QueueChart", "OperationControls", "RecentOperations"} <= used["opsdash"]
    assert used["ops"] <= SURFACE


def test_the_tour_begins_with_how_to_start_the_demo_and_carries_no_output(tour: nbformat.NotebookNode) -> None:
    assert "opsdash demo --data-dir demo" in tour.cells[0].source
    assert "source demo/env" in tour.cells[0].source
    assert [cell.id for cell in tour.cells if cell.cell_type == "code" and cell.outputs] == []


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_tour_runs_on_a_running_demo(
    tour: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_demo(tmp_path) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        NotebookClient(tour, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    shown = [output.data for output in outputs if output.output_type in {"display_data", "execute_result"}]
    assert sum("application/vnd.holoviews_exec.v0+json" in data for data in shown) >= 7
    assert any("celery" in str(data.get("text/plain")) for data in shown)
