"""The demo's data folder: made or taken, locked, described in ``DIR/env``, and removed when it is ours to remove."""

from __future__ import annotations

import fcntl
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from opsdash.demo import keeper
from opsdash.errors import Invalid

PREFIX = "opsdash-demo-"
_ENV_MARK = "# Written by `opsdash demo`"


class Folder:
    """A locked folder. Use `temporary` or `at`.

    Attributes:
        path: Absolute.
        kept: It is the user's and stays.
        lock: File descriptor that holds the lock; the keeper shares it.
        passing: What goes when the demo ends: all of a temporary folder, of a kept one what is no longer true.
    """

    def __init__(self, path: Path, *, kept: bool) -> None:
        self.path, self.kept = path, kept
        self.logs, self.env = path / "logs", path / "env"
        self.temp = path / "tmp"  # of the demo's processes: a killed worker can't remove its own files
        pid = path / "lock"
        self.passing = [self.env, self.temp, pid] if kept else [path]
        self.lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid.write_text(f"{os.getpid()}\n")  # for people: the lock itself is on the folder
            self.logs.mkdir(exist_ok=True)
            self.temp.mkdir(exist_ok=True)
        except BlockingIOError:
            os.close(self.lock)
            holder = pid.read_text(errors="replace").strip() if pid.is_file() else "unknown"
            raise _unusable(
                path, f"another demo is using it (process {holder})", hint="Stop that one or choose another folder"
            ) from None
        except OSError:
            os.close(self.lock)
            raise

    @classmethod
    def temporary(cls) -> Self:
        """A new folder."""
        try:
            return cls(Path(tempfile.mkdtemp(prefix=PREFIX)).resolve(), kept=False)
        except OSError as error:
            raise Invalid(
                f"no temporary folder can be made ({_reason(error)})", hint="Name one with --data-dir"
            ) from error

    @classmethod
    def at(cls, path: Path) -> Self:
        """The user's folder; made when only its last part is missing.

        Raises:
            Invalid: One line that names the folder and why it can't be used.
        """
        path = path.expanduser().absolute()
        if any(char in str(path) for char in "?\n\0"):
            raise _unusable(path, "a question mark or line break can't be part of a database URL")
        try:
            if path.exists() and not path.is_dir():
                raise _unusable(path, "is a file; expected a folder")
            path.mkdir(mode=0o700, exist_ok=True)
            env = path / "env"
            if env.is_dir() or (env.exists() and not env.read_text(errors="replace").startswith(_ENV_MARK)):
                raise _unusable(path, "holds something named env that no demo wrote", hint="Choose another folder")
            return cls(path, kept=True)
        except FileNotFoundError as error:
            raise _unusable(path, f"{path.parent} does not exist", hint="Make it first") from error
        except OSError as error:
            raise _unusable(path, f"can't be used: {_reason(error)}") from error

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


def _unusable(path: Path, why: str, *, hint: str = "") -> Invalid:
    return Invalid(f"{str(path)!r}: {why}", field="--data-dir", hint=hint)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
