"""The last release of opsdash, out of this repository's history, to run beside this build."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.services import Missing
from support.workers import ROOT

LAST_RELEASE = "1580d73"
"""The commit of 0.2.0."""


def last_release(folder: Path) -> Path:
    """Its sources, unpacked into this folder; ``Missing`` where the history is not at hand, as in an archive."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", LAST_RELEASE], capture_output=True, check=False)
    if archive.returncode:
        raise Missing(f"the history has no {LAST_RELEASE}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def path_of(sources: Path) -> str:
    """``PYTHONPATH`` of a program of that build, with the apps of these tests."""
    return os.pathsep.join([str(sources), str(ROOT / "tests")])
