"""What is installed works: the library called alembic, and the wheel of the sdist on a machine without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import alembic
import pytest

import opsdash
from opsdash.services.database import migrations

ROOT = Path(__file__).parents[2]
LIBRARIES = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def build(kind: str, source: Path, folder: Path) -> Path:
    """Builds with the backend of this environment: nothing is downloaded."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the unpacked sdist: all that a distributor has."""
    sdist = build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
    source = tmp_path_factory.mktemp("unpacked")
    # Not tarfile: before Python 3.11.4 its extraction knows no filter, and from 3.12 on it warns when given none.
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(source)], check=True, timeout=60)
    (top,) = source.iterdir()
    return build("wheel", top, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of a clean environment that holds that wheel and, beside it, this environment's other libraries."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=60)
    python = home / "bin" / "python"
    subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
            str(wheel),
        ],
        check=True,
        timeout=60,
    )
    (site,) = home.glob("lib/python*/site-packages")
    # A line in a .pth file appends a folder; .pth files *in* that folder, as of an editable opsdash, are not followed.
    (site / "libraries.pth").write_text("\n".join(LIBRARIES))
    return python


@pytest.mark.parametrize("arguments", [("-c",), ("-P", "-c")])
def test_the_folder_alembic_never_hides_the_library(arguments):
    """From the top of the checkout too, where ``python -c`` looks first."""
    assert Path(alembic.__file__).is_relative_to(sysconfig.get_path("purelib"))
    command = [sys.executable, *arguments, "import alembic; print(alembic.__file__)"]
    seen = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert Path(seen.strip()) == Path(alembic.__file__)


def test_the_wheel_carries_the_migrations_and_every_file_of_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in (ROOT / "opsdash").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    ours = {str(path.relative_to(ROOT)) for path in files}
    ours |= {f"opsdash/migrations/{path.relative_to(ROOT / 'alembic')}" for path in (ROOT / "alembic").rglob("*.py")}
    assert (ours | {"opsdash/migrations/script.py.mako"}) - names == set()


@pytest.mark.long
def test_the_installed_command_says_the_version(installed, tmp_path):
    output = subprocess.check_output([installed.with_name("opsdash"), "--version"], cwd=tmp_path, text=True, timeout=60)
    assert output.startswith(f"opsdash {opsdash.__version__}, Python 3.")


def test_a_database_is_made_and_checked_from_an_installed_wheel(installed, empty_database_url, tmp_path):
    program = f"""
import opsdash
from opsdash.services.database import migrations
assert opsdash.__file__.startswith({str(installed.parent.parent)!r}), opsdash.__file__
migrations.upgrade({empty_database_url!r})
print(migrations.current({empty_database_url!r}), migrations.head(), migrations.check({empty_database_url!r}))
"""
    done = subprocess.run([installed, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{migrations.head()} {migrations.head()} []\n", "")


def test_the_installed_command_upgrades_the_database(installed, empty_sqlite_url, tmp_path):
    command = [installed.with_name("opsdash"), "db", "upgrade"]
    environment = os.environ | {"OPSDASH_DATABASE_URL": empty_sqlite_url}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    again = subprocess.run([*command[:2], "check"], cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert again.returncode == 0, again.stdout + again.stderr
