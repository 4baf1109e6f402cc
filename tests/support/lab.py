"""Notebooks: written cell by cell, run in a kernel, opened in a real JupyterLab."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import nbformat
from support import services
from support.workers import eventually


def notebook(*cells: str) -> nbformat.NotebookNode:
    """One with these cells of code."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def answers(url: str) -> bool:
    """Something is there."""
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextlib.contextmanager
def jupyterlab(
    folder: Path, env: Mapping[str, str], kernels: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """JupyterLab on the notebooks of a folder, with its own settings beside it; the address of the folder.

    Args:
        kernels: Settings of JupyterLab, of the section Kernels, that differ from its own.
    """
    port = services.free_port()
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(folder.parent / name) for name in names}
    section = folder.parent / "JUPYTER_CONFIG_DIR" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    section.mkdir(parents=True)
    (section / "kernels-settings.jupyterlab-settings").write_text(json.dumps(dict(kernels)), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *(f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--LabApp.news_url="),
        "--ServerApp.disable_check_xsrf=True",
    ]
    with (folder.parent / "lab.log").open("w") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **env, **own},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/api"), timeout_s=90, what="JupyterLab answers")
        yield f"{url}/lab/tree"
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
