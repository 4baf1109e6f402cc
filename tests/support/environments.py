"""Virtual environments with other versions than this one's, and what is run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL_TIMEOUT_S = 300


def run(command: list[str | Path], what: str, timeout_s: float, **environment: str) -> str:
    """Runs it in the checkout; a failure of the command is a failure of the test, with all it said."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"{what}: not within {timeout_s:.0f} s", pytrace=False)
    if done.returncode:
        pytest.fail(f"{what}: exit {done.returncode}\n{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}", pytrace=False)
    return done.stdout


def environment_with(folder: Path, *packages: str) -> Path:
    """A virtual environment with the packages; returns its Python. By uv where there is one, else by pip."""
    python = folder / "bin" / "python"
    if uv := shutil.which("uv"):
        make = [uv, "venv", "-q", "--python", sys.executable, folder]
        install = [uv, "pip", "install", "-q", "--python", python]
    else:
        make = [sys.executable, "-m", "venv", folder]
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*make], "no virtual environment could be made", INSTALL_TIMEOUT_S)
    run([*install, *packages], f"no environment with {', '.join(packages)} could be made", INSTALL_TIMEOUT_S)
    return python
