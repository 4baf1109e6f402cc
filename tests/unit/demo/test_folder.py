"""The demo's data folder: who has it, what is written there, what goes away."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from opsdash.demo.folder import Folder
from opsdash.errors import Invalid


def test_the_env_file_is_for_its_owner_and_survives_a_shell(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "my demo's data")
    value = 'it\'s $HOME `date` "quoted" é'
    folder.write_env({"OPSDASH_REDIS_URL": value})
    assert stat.S_IMODE(folder.env.stat().st_mode) == 0o600
    shell = 'source "$1"; printf %s "$OPSDASH_REDIS_URL"'
    assert subprocess.check_output(["bash", "-c", shell, "bash", str(folder.env)], text=True) == value
    folder.close()


def test_a_kept_folder_keeps_its_data_and_loses_its_env_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "opsdash.sqlite3").write_text("data")
    folder.write_env({})
    folder.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "opsdash.sqlite3"]


def test_a_folder_that_another_demo_uses_is_refused_and_free_after_it(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    with pytest.raises(Invalid, match=rf"another demo is using it \(process {os.getpid()}\)"):
        Folder(tmp_path)
    first.close()
    Folder(tmp_path).close()


def test_a_lock_that_a_killed_demo_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4294967\n")
    folder = Folder(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    folder.close()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing/demo", "missing does not exist"),
        ("file", "is a file; expected a folder"),
        ("file/demo", "can't be used: not a directory"),
        ("what?", "question mark"),
        ("odd", "can't be used: file exists"),
        ("project", "something named env that no demo wrote"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "logs").touch()
    (tmp_path / "project" / "env").mkdir(parents=True)  # a virtual environment, say
    with pytest.raises(Invalid, match=why) as caught:
        Folder(tmp_path / name)
    assert caught.value.field == "--data-dir"
    assert "\n" not in caught.value.explanation
