"""The demo's data folder: made or taken, locked, described in ``DIR/env``, and removed when it is ours to remove."""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from opsdash.errors import Invalid

PREFIX = "opsdash-demo-"
_ENV_MARK = "# Written by `opsdash demo`"


class Folder:
    """A locked folder. Use `temporary` or `at`.

    Attributes:
        path: Absolute.
        kept: It is the user's and stays.
        lock: File descriptor that holds the lock; the keeper shares it.
    """

    def __init__(self, path: Path, *, kept: bool) -> None:
        self.path = path
        self.kept = kept
        self.lock = _lock(path)
        self._closed = False
        try:
            for needed in (self.logs, self.temp):
                needed.mkdir(exist_ok=True)
        except OSError:
            self.close()
            raise

    @classmethod
    def temporary(cls) -> Self:
        """A new folder; folders that dead demos could not remove are swept on the way."""
        sweep(Path(tempfile.gettempdir()))
        try:
            path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        except OSError as error:
            raise Invalid(f"no temporary folder can be made ({_reason(error)}); name one with --data-dir") from error
        return cls(path, kept=False)

    @classmethod
    def at(cls, path: Path) -> Self:
        """The user's folder; made when only its last part is missing.

        Raises:
            Invalid: One line that names the folder and why it can't be used.
        """
        path = path.expanduser().absolute()
        if any(char in str(path) for char in "?\n\0"):
            raise Invalid(f"--data-dir {str(path)!r}: a question mark or line break can't be part of a database URL")
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError as error:
            raise Invalid(f"--data-dir {path}: {path.parent} does not exist; make it first") from error
        except FileExistsError as error:
            raise Invalid(f"--data-dir {path}: is a file; expected a folder") from error
        except OSError as error:
            raise Invalid(f"--data-dir {path}: can't be made: {_reason(error)}") from error
        try:
            env = path / "env"
            if env.is_dir() or (env.exists() and not env.read_text(errors="replace").startswith(_ENV_MARK)):
                raise Invalid(f"--data-dir {path}: holds something named env that no demo wrote; choose another folder")
            return cls(path, kept=True)
        except OSError as error:
            raise Invalid(f"--data-dir {path}: can't be used: {_reason(error)}") from error

    @property
    def logs(self) -> Path:
        """One log for each part of the demo."""
        return self.path / "logs"

    @property
    def env(self) -> Path:
        """What a second terminal sources."""
        return self.path / "env"

    @property
    def temp(self) -> Path:
        """Temporary files of the demo's processes: a killed worker can't remove its own."""
        return self.path / "tmp"

    @property
    def passing(self) -> list[Path]:
        """What goes when the demo ends: all of a temporary folder, of a kept one what is no longer true."""
        return [self.env, self.temp] if self.kept else [self.path]

    def write_env(self, settings: Mapping[str, str]) -> None:
        """Writes ``DIR/env`` (mode 0600: it holds the broker's password), whole or not at all."""
        lines = [f"{_ENV_MARK}: source this file, then `opsdash` acts on the running demo."]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
        draft = self.path / ".env.new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write("\n".join(lines) + "\n")
        draft.replace(self.env)

    def close(self) -> None:
        """Removes a temporary folder; a kept one loses only what is no longer true. Twice is once."""
        if self._closed:
            return
        self._closed = True
        for path in self.passing:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if self.kept:
            (self.path / "lock").unlink(missing_ok=True)
        os.close(self.lock)


def sweep(parent: Path) -> list[Path]:
    """Removes what demos left that were killed together with their keeper; says which.

    A folder counts as left behind when it is ours and its lock is free. One without a lock is just being made.
    """
    swept = []
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # gone meanwhile, or no lock yet
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
        except OSError:  # held: that demo is running
            continue
        finally:
            os.close(descriptor)
    return swept


def _lock(path: Path) -> int:
    """Takes the folder's lock, or says who has it.

    The file appears under its name only when it is locked already, so that no sweep finds it free.
    """
    file = path / "lock"
    for _ in range(20):
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            draft = path / f".lock.{secrets.token_hex(8)}"
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                os.link(draft, file)  # unlike a rename, this fails when another demo was faster
            except FileExistsError:
                os.close(descriptor)
                continue
            finally:
                draft.unlink()
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise Invalid(
                f"--data-dir {path}: another demo is using it (process {holder}); stop that one or choose another"
            ) from None
        if _same_file(descriptor, file):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)  # its demo ended, and removed it, between our open and our lock
    raise Invalid(f"--data-dir {path}: its lock changes hands all the time; choose another folder")


def _same_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
