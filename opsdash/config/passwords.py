"""The users file of ``OPSDASH_AUTH=basic``: one line each, a name and a scrypt hash, and nothing that opens anything.

Standard library only: the command line writes the file without loading the page.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from opsdash.errors import Invalid, Refused
from opsdash.model import usernames
from opsdash.values import frozen

N, R, P = 2**15, 8, 1
"""scrypt's cost: 32 MB and about 80 ms for each try."""

SALT_BYTES = HASH_BYTES = 32
MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 1_024
NAME_LENGTH = 200
_MAX_MEMORY = 128 * 1024 * 1024


@frozen
class Hashed:
    """A password's hash with all that is needed to compare: never the password."""

    salt: bytes
    digest: bytes
    n: int
    r: int
    p: int

    @classmethod
    def of(cls, password: str) -> Hashed:
        """Hashes a new password. Cost: 80 ms, 32 MB."""
        salt = secrets.token_bytes(SALT_BYTES)
        return cls(salt, _scrypt(password, salt, N, R, P), N, R, P)

    @classmethod
    def parse(cls, text: str) -> Hashed:
        """Reads what ``str`` writes.

        Raises:
            ValueError: It is no such line.
        """
        kind, n, r, p, salt, digest = text.split("$")
        if kind != "scrypt":
            raise ValueError(f"unknown kind of hash {kind!r}")
        salted, hashed = (base64.b64decode(part, validate=True) for part in (salt, digest))
        return cls(salted, hashed, int(n), int(r), int(p))

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode() for part in (self.salt, self.digest))
        return f"scrypt${self.n}${self.r}${self.p}${salt}${digest}"

    def fits(self, password: str) -> bool:
        """Whether this is the password; the time it takes says nothing about how much of it was right."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.n, self.r, self.p), self.digest)


_NOBODY = Hashed(bytes(SALT_BYTES), bytes(HASH_BYTES), N, R, P)


class Users:
    """The file. It is read each time: a removed user is gone at once.

    Args:
        path: Where it is; only its owner may read it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> Mapping[str, Hashed]:
        """Everybody in it; nobody where there is no file.

        Raises:
            Invalid: It can't be read, others may read it, or a line is none of ours.
        """
        try:
            with self.path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                lines = file.read().splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{self.path} can't be read: {error}", setting="OPSDASH_USERS_FILE") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Invalid(
                f"others may read {self.path}; expected mode 0600, got {mode:04o}", setting="OPSDASH_USERS_FILE"
            )
        found: dict[str, Hashed] = {}
        for number, line in enumerate(lines, 1):
            name, _, hashed = line.rpartition(":")
            try:
                found[name] = Hashed.parse(hashed)
            except ValueError:
                raise Invalid(
                    f"line {number} of {self.path} is not a user; no user can sign in", setting="OPSDASH_USERS_FILE"
                ) from None
        return found

    def check(self, name: str, password: str) -> bool:
        """Whether this is a user with this password; an unknown name takes as long as a wrong password. Cost: 80 ms."""
        known = self.read().get(name)
        fits = (known or _NOBODY).fits(password[:MAX_PASSWORD_LENGTH])
        return known is not None and fits

    def put(self, name: str, password: str) -> bool:
        """Adds a user or gives a new password; True when the name is new.

        Raises:
            Refused: Name or password can't be used; nothing was changed.
        """
        if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > NAME_LENGTH or "," in name:
            raise Refused("A user name is printable, without commas and blanks around it.", field="name")
        if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
            raise Refused(f"A password has at least {MIN_PASSWORD_LENGTH} characters.", field="password")
        with self._locked():
            users = dict(self.read())
            is_new = name not in users
            if is_new and any(usernames.same(name, known) for known in users):
                raise Refused("Another user has a name that looks like this one.", field="name")
            users[name] = Hashed.of(password)
            self._write(users)
        return is_new

    def remove(self, name: str) -> None:
        """Removes a user.

        Raises:
            Refused: There is none of this name; nothing was changed.
        """
        with self._locked():
            users = dict(self.read())
            if users.pop(name, None) is None:
                raise Refused(f"There is no user {name}.", field="name")
            self._write(users)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Two who change the file at once take turns."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(f"{self.path}.lock", os.O_CREAT | os.O_WRONLY, 0o600), "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise Invalid(f"{self.path} can't be written: {error.strerror}", setting="OPSDASH_USERS_FILE") from error

    def _write(self, users: Mapping[str, Hashed]) -> None:
        # In full under another name (mode 0600), then renamed: a reader sees the old file or the new one.
        descriptor, draft = tempfile.mkstemp(dir=self.path.parent, prefix=f"{self.path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.writelines(f"{name}:{hashed}\n" for name, hashed in sorted(users.items()))
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, self.path)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=HASH_BYTES
    )
