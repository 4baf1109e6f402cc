"""The distribution as it is installed, and what is installed beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Builds the wheel of this checkout into an empty folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (built,) = folder.iterdir()
    return built


def packages(python: Path) -> dict[str, str]:
    """Distribution, in lower case → version, of an environment."""
    command = [str(python), "-m", "pip", "list", "--format", "json"]
    listed = subprocess.run(command, check=True, capture_output=True, timeout=120)
    return {one["name"].lower(): one["version"] for one in json.loads(listed.stdout)}
