"""A disk that can be full: a small file system in memory, where this user may mount one."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNS = 0x00020000
PIECE = b"\0" * 65_536


class Disk:
    """One folder.

    Attributes:
        small: It is a file system of its own; else nothing can fill it, and ``filled`` does nothing.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
        try:
            self.small = own_mounts() and subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:  # no mount here
            self.small = False

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Not a byte is left."""
        filler = self.folder / "filler"
        try:
            if self.small:
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while file.write(PIECE):
                        pass
            yield
        finally:
            filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends it; what still lies there is gone."""
        if self.small:
            subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=False)


@contextlib.contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """As small as that, gone at the end."""
    with contextlib.closing(Disk(folder, megabytes)) as made:
        yield made


def own_mounts() -> bool:
    """What this thread and its programs mount from now on, nobody else sees; it ends with the last of them."""
    if not hasattr(ctypes.CDLL(None), "unshare") or ctypes.CDLL(None).unshare(CLONE_NEWNS):
        return False
    command = ["mount", "--make-rprivate", "/"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
