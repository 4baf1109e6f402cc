"""opsdash with other products: the commands of each page, as printed, in the environment of the product itself.

Each installs its product from the package index, into an environment of its own; the workers are the product's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import wheels
from support.blocks import ROOT, blocks
from support.products import PRODUCTS, Product
from support.services import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]
SHELL = """
set -euo pipefail
in_background() {  # a worker goes on while the reader types the next command; it ends with this shell
  case " $* " in *" worker "*) ;; *) command "$@"; return;; esac
  command "$@" >worker.log 2>&1 </dev/null &
  until grep -q 'ready\\.' worker.log; do kill -0 $! || { cat worker.log >&2; return 1; }; sleep 0.2; done
}
celery() { in_background celery "$@"; }
airflow() { in_background airflow "$@"; }
send() { python -c "$SEND" 2>send.log | tail -1; }
seen() { grep -q "$1" worker.log; }
"""
AFTER_PAUSE = """
id=$(send) || { cat send.log >&2; exit 1; }
../console/bin/opsdash queues --json >queues.json
../console/bin/opsdash pause-processing --for 1m --dry-run >preview.txt
sleep 3
if seen "$id"; then echo 'it was taken in the pause' >&2; exit 1; fi
"""
AFTER_RESUME = """
for _ in $(seq 100); do if seen "$id"; then break; fi; sleep 0.2; done
seen "$id" || { echo 'it was not taken after the resume' >&2; tail -50 worker.log >&2; exit 1; }
../console/bin/opsdash workers --json >workers.json
"""
"""What the test does between the page's commands: a task is sent in the pause, and stays away until the resume."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


def installed(product: Product, home: Path) -> Path:
    """The Python of a new environment with the product in it."""
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=60)
    python = home / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", *product.requires], capture_output=True, text=True, timeout=1_500
    )
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_commands_of_a_products_page_hold_its_worker_and_replace_nothing(
    name: str, wheel: Path, valkey: Valkey, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    product, folder = PRODUCTS[name], tmp_path / "project"
    database = request.getfixturevalue("empty_postgres_url") if "airflow" in name else ""
    python = installed(product, tmp_path / "venv")
    had = wheels.packages(python)

    def filled(text: str) -> str:
        return product.filled(text, valkey, database, str(folder))

    for file, text in product.files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(filled(text))
    folder.mkdir(exist_ok=True)
    script = [SHELL, product.prepare]
    for block in blocks(ROOT / "docs" / product.page):
        assert block.language == "sh", "a page's blocks are what the reader types"
        text = block.text.replace("redis://localhost:6379/0", valkey.url)
        script.append(re.sub(r'"?\.\./opsdash(\[console\])?"?(?=\s)', rf'"{wheel}\1"', text))
        script += [AFTER_PAUSE] * ("pause-processing" in text) + [AFTER_RESUME] * ("resume-processing" in text)
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("OPSDASH_")}
    environment = {
        **kept,
        **{key: filled(value) for key, value in product.environment.items()},
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "SEND": product.send,
    }
    with (tmp_path / "said").open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(script)],
            cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = shell.wait(timeout=900)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # the worker, too
            shell.wait()
    output = (tmp_path / "said").read_text()
    assert code == 0, output
    assert "safe to deploy" in output or "pause-processing --queue" in "".join(script)
    waiting = {queue["name"]: queue["waiting"] for queue in json.loads((folder / "queues.json").read_text())}
    assert waiting[product.queue] == 1, "the console knows the queue by what the workers report"
    (worker,) = json.loads((folder / "workers.json").read_text())
    assert (worker["state"], worker["pausing"], product.queue in worker["queues"]) == ("online", "ready", True)
    assert product.said in (folder / "preview.txt").read_text()
    has = wheels.packages(python)
    assert {one: has.get(one) for one in had} == had, "nothing is replaced"
    assert has.keys() - had.keys() == {"opsdash"}
