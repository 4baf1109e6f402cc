"""The demo's data folder: made or taken, locked, described in ``DIR/env``, and removed when it is ours to remove."""

from __future__ import annotations

import fcntl
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from opsdash.demo import PREPARED, keeper
from opsdash.errors import Invalid

PREFIX = "opsdash-demo-"
_ENV_MARK = "# Written by `opsdash demo`"


class Folder:
    """A locked folder.

    Args:
        path: The user's, which stays; made when only its last part is missing. None: a temporary one.

    Attributes:
        path: Absolute.
        temp: TMPDIR of the demo's processes: a killed worker can't remove its own files.
        passing: What goes when the demo ends: all of a temporary folder, of a kept one what is no longer true.
        lock: File descriptor that holds the lock; the keeper shares it.

    Raises:
        Invalid: One line that names the folder and why it can't be used.
    """

    def __init__(self, path: Path | None) -> None:
        self.kept = path is not None
        try:
            self.path = _of_user(path) if path else Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
            self.logs, self.env, self.temp = self.path / "logs", self.path / "env", self.path / "tmp"
            holder = self.path / "lock"  # for people: the lock itself is on the folder
            self.passing = [self.env, self.temp, holder] if self.kept else [self.path]
            self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.write_text(f"{os.getpid()}\n")
            self.logs.mkdir(exist_ok=True)
            self.temp.mkdir(exist_ok=True)
            (self.temp / PREPARED).unlink(missing_ok=True)  # of a demo that was killed
        except BlockingIOError:
            os.close(self.lock)
            pid = holder.read_text(errors="replace").strip() if holder.is_file() else "unknown"
            raise _unusable(
                self.path, f"another demo is using it (process {pid})", hint="Stop that one or choose another folder"
            ) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise _unusable(path or "a temporary folder", f"can't be used: {reason}") from error

    def write_env(self, settings: Mapping[str, str]) -> None:
        """Writes ``DIR/env`` (mode 0600: it holds the broker's password), whole or not at all."""
        lines = [f"{_ENV_MARK}: source this file, then `opsdash` acts on the running demo."]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
        draft = self.path / ".env.new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write("\n".join(lines) + "\n")
        draft.replace(self.env)

    def close(self) -> None:
        """Removes a temporary folder; a kept one loses only what is no longer true."""
        keeper.remove(self.passing)
        os.close(self.lock)


def _of_user(path: Path) -> Path:
    path = path.expanduser().absolute()
    if any(char in str(path) for char in "?\n\0"):
        raise _unusable(path, "a question mark or line break can't be part of a database URL")
    if path.exists() and not path.is_dir():
        raise _unusable(path, "is a file; expected a folder")
    if not path.parent.exists():
        raise _unusable(path, f"{path.parent} does not exist", hint="Make it first")
    path.mkdir(mode=0o700, exist_ok=True)
    env = path / "env"
    if env.is_dir() or (env.exists() and not env.read_text(errors="replace").startswith(_ENV_MARK)):
        raise _unusable(path, "holds something named env that no demo wrote", hint="Choose another folder")
    return path


def _unusable(path: Path | str, why: str, *, hint: str = "") -> Invalid:
    return Invalid(f"{str(path)!r}: {why}", field="--data-dir", hint=hint)
