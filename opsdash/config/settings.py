"""Settings: environment variables with the prefix ``OPSDASH_``, checked once, one clear line for each mistake."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from opsdash.config import broker_url, parsers, roles
from opsdash.config.notify_settings import NotifySettings
from opsdash.config.parsers import MIN_SECRET_LENGTH, ApiToken
from opsdash.config.run_settings import RunSettings
from opsdash.config.setting import setting as _setting
from opsdash.errors import Invalid
from opsdash.model import Actor, Role
from opsdash.model.hold import TENANT_KEY
from opsdash.model.time_in_queue import Objective

PREFIX = "OPSDASH_"
DEMO_PREFIX = "OPSDASH_DEMO_"
"""Variables by which the demo's processes tell each other something: no settings."""
_DAY_S = 86_400


NO_FOLDER = "Make it first, or correct the path"


def data_dir() -> Path:
    """Where opsdash keeps its own files when nothing else is said."""
    import platformdirs

    return platformdirs.user_data_path("opsdash")


def _default_users_file() -> str:
    return str(data_dir() / "users")


def _default_database_url() -> str:
    return f"sqlite:///{data_dir() / 'opsdash.sqlite3'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RunSettings, NotifySettings):
    """Everything that can be configured: each field is the variable of its name, in capitals, after ``OPSDASH_``."""

    redis_url: str = _setting(
        default="redis://localhost:6379/0",
        parse=parsers.redis_url,
        secret=True,
        doc="The Celery broker; also holds opsdash's keys.",
    )
    database_url: str = _setting(
        factory=_default_database_url,
        parse=str.strip,
        secret=True,
        doc="Audit log and tenant configs, as a SQLAlchemy URL.",
    )
    celery_app: str | None = _setting(
        default=None,
        parse=parsers.text,
        doc="As `celery -A` takes it, `package.module:app`; a Django project's may be said as `proj`, `proj:app` or"
        " `proj.celery:app`. Gives queues, priorities and the key prefix.",
    )
    queues: tuple[str, ...] = _setting(
        default=(),
        parse=parsers.names,
        doc="Queues to show first, comma-separated; the app's, the workers' and bound ones are found.",
    )
    auth: str | None = _setting(
        default=None,
        parse=parsers.auth,
        doc="`dev` (loopback, one local user), `header` (trusted proxy), `basic` (users file) or `oauth` (Panel's); "
        "unset: the page is closed.",
    )
    user_header: str = _setting(
        default="X-Auth-Request-User", parse=parsers.header, doc="Request header with the user's name (`header` only)."
    )
    groups_header: str = _setting(
        default="X-Auth-Request-Groups",
        parse=parsers.header,
        doc="Request header with the user's groups (`header` only).",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        default=("127.0.0.0/8", "::1/128"),
        parse=parsers.networks,
        doc="Addresses or networks of the proxy, comma-separated: its headers count, nobody else's; default: loopback.",
    )
    users_file: str = _setting(
        factory=_default_users_file,
        parse=parsers.path,
        doc="Names and scrypt hashes of `basic`, written by `opsdash user`; default: in the user's data directory.",
    )
    page_opens_per_minute: int = _setting(
        default=600, parse=parsers.number(1, 100_000, int), doc="Pages that one client address may open in a minute."
    )
    max_pages: int = _setting(
        default=400,
        parse=parsers.number(10, 100_000, int),
        doc="Pages open at once; of them a fifth is kept for admins, another fifth for operators and admins.",
    )
    max_pages_each: int = _setting(
        default=20,
        parse=parsers.number(1, 100_000, int),
        doc="Pages that one user may have open at once (not with `dev`).",
    )
    max_streams: int = _setting(
        default=100,
        parse=parsers.number(10, 100_000, int),
        doc="Streams of `/api/v1/events` open at once; as many of them are kept for operators and admins.",
    )
    max_streams_each: int = _setting(
        default=20,
        parse=parsers.number(1, 100_000, int),
        doc="Streams that one token, or one client address, may have open.",
    )
    max_connections: int = _setting(
        default=800,
        parse=parsers.number(50, 100_000, int),
        doc="Connections open at once; a fifth is kept for the trusted proxies. Never more than the files the system "
        "lets the process open.",
    )
    max_connections_each: int = _setting(
        default=200, parse=parsers.number(1, 100_000, int), doc="Connections of one address that is no trusted proxy."
    )
    admins: tuple[str, ...] = _setting(
        default=(), parse=parsers.names, doc="Users or `group:NAME` with the role admin; `*` is everyone signed in."
    )
    operators: tuple[str, ...] = _setting(default=(), parse=parsers.names, doc="As above, role operator.")
    viewers: tuple[str, ...] = _setting(
        default=(), parse=parsers.names, doc="As above, role viewer: sees all, may do nothing."
    )
    api_tokens: tuple[ApiToken, ...] = _setting(
        default=(),
        parse=parsers.api_tokens,
        secret=True,
        doc="`name:role:token`, comma-separated, for the JSON API and `/metrics`; unset: both are closed.",
    )
    roles_file: str | None = _setting(
        default=None,
        parse=parsers.roles_file,
        doc="File of lines `admins: …`, `operators: …`, `viewers: …`, added to the lists; read again when it changes.",
    )
    pause_ttl_s: int = _setting(
        default=_DAY_S, parse=parsers.number(1, 365 * _DAY_S, int), doc="Seconds after which a pause ends by itself."
    )
    undo_window_s: int = _setting(
        default=_DAY_S,
        parse=parsers.number(0, 365 * _DAY_S, int),
        doc="Seconds for which cleared messages are kept; 0: deleted at once.",
    )
    poll_interval_s: float = _setting(
        default=2.0,
        parse=parsers.number(0.2, 10, float),
        doc="Seconds between two reads, however many pages are open; at most 10.",
    )
    redact: str = _setting(
        default="",
        parse=parsers.pattern,
        doc="Regular expression: task arguments whose name or text it finds are hidden, beside all that looks secret.",
    )
    failed_max: int = _setting(
        default=10_000,
        parse=parsers.number(0, 1_000_000, int),
        doc="Failed tasks that workers keep, with their messages (also set it in the workers' environment); 0: none.",
    )
    failed_ttl_s: int = _setting(
        default=7 * _DAY_S,
        parse=parsers.number(60, 365 * _DAY_S, int),
        doc="Seconds for which they are kept (also set it in the workers' environment).",
    )
    poison_after: int = _setting(
        default=0,
        parse=parsers.number(0, 1_000, int),
        doc="In the workers' environment: how often a redelivered task may take its process with it before it is set "
        "aside as a failed one; 0: any number.",
    )
    task_url: tuple[str, ...] = _setting(
        default=(),
        parse=parsers.task_urls,
        doc="Where else a failed task is shown, e.g. `https://flower.example/task/{task_id}`; also `{trace_id}`, "
        "`{task}`, `{queue}`. Several with blanks between them.",
    )
    objectives: tuple[tuple[str, Objective], ...] = _setting(
        default=(),
        parse=parsers.objectives,
        doc="How long tasks may wait, for each queue, comma-separated: `emails=95% within 30s over 1h`.",
    )
    tenant_key: str = _setting(
        default=TENANT_KEY,
        parse=parsers.name,
        doc="Header of a task, else keyword argument, that names its tenant. Also in the workers' environment, so that "
        "they report whose tasks run.",
    )
    environment: str | None = _setting(
        default=None, parse=parsers.text, doc="Name shown in the header, e.g. `production`."
    )
    approval: tuple[str, ...] = _setting(
        default=(),
        parse=parsers.names,
        doc="Operations that wait for a different operator's YES, comma-separated, e.g. `clear_queue`.",
    )
    approval_ttl_s: int = _setting(
        default=900, parse=parsers.number(10, 7 * _DAY_S, int), doc="Seconds that they wait before they expire."
    )
    name_queue_above: int | None = _setting(
        default=None,
        parse=parsers.number(0, 10**9, int),
        doc="Clearing a queue with more tasks than this asks for its name beside `YES`; in production it always does.",
    )
    secret_key: str | None = _setting(
        default=None,
        parse=parsers.secret,
        secret=True,
        doc="Signs sessions and fingerprints secrets; made and kept beside the SQLite file when unset.",
    )

    audit: str = _setting(
        default="spool",
        parse=parsers.audit,
        doc="`spool`: while the database is down, entries wait in Redis; `strict`: operations are refused instead.",
    )
    old_secret_keys: tuple[str, ...] = _setting(
        default=(),
        parse=parsers.names,
        secret=True,
        doc="Earlier secret keys, comma-separated: they verify old audit entries.",
    )
    tenant_source: str | None = _setting(
        default=None,
        parse=parsers.callable_path,
        doc="`package.module:callable` that gives the tenants as mappings; default: the table.",
    )
    tenant_table: str = _setting(
        default="tenant_config",
        parse=parsers.table,
        doc="Table of the tenants in the database, `schema.table` where needed.",
    )
    tenant_columns: tuple[tuple[str, str], ...] = _setting(
        default=(),
        parse=parsers.columns,
        doc="Its columns' own names, e.g. `tenant_id=id,name=title`; `api_key=` where it has none.",
    )
    key_prefix: str | None = _setting(
        default=None,
        parse=parsers.key_prefix,
        doc="`global_keyprefix` of the app, `\"\"` for none; default: the app's, else the workers'.",
    )
    separator: str | None = _setting(
        default=None,
        parse=parsers.separator,
        doc="`sep` of the app, e.g. `:` or `\\x06\\x16`; default: the app's, else the workers', else kombu's.",
    )
    priority_steps: tuple[int, ...] | None = _setting(
        default=None,
        parse=parsers.priority_steps,
        doc="`priority_steps` of the app, e.g. `0,4,8`; default: the app's, else the workers', else kombu's `0,3,6,9`.",
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from the environment; keyword arguments win.

        Raises:
            Invalid: One line naming the variable, what is wrong with its value and what is expected.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            variable = PREFIX + field.name.upper()
            given = environ.get(variable)
            if given is None or not given.strip():
                continue
            try:
                values[field.name] = field.metadata["parse"](given)
            except ValueError as error:
                raise Invalid(f"{error}", setting=variable) from None
        _refuse_typos(environ)
        unknown = overrides.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise Invalid("there is no such setting", field=", ".join(sorted(unknown)))
        values.update(overrides)
        return cls(**values)

    @property
    def redis_label(self) -> str:
        """The broker for people: host, port and database, never a password."""
        try:
            return broker_url.read(self.redis_url).label
        except ValueError:  # given in Python, where nobody has read it yet
            return "the configured address"

    @property
    def roles_configured(self) -> bool:
        """Whether any of the three role lists says anything, or a file is to say it."""
        return bool(self.admins or self.operators or self.viewers or self.roles_file)

    def actor(self, name: str, groups: Iterable[str] = (), *, surface: str, client: str = "") -> Actor:
        """An identity with the role the lists give it.

        Without any list, a user whose shell or notebook has the credentials of Redis and the database, and the one
        local user of ``dev``, is admin: a name that they type proves no more than that. A user who comes over
        the network has no role until a list gives one.
        """
        groups = tuple(groups)
        if not self.roles_configured and (surface in {"cli", "python"} or self.auth == "dev"):
            return Actor(name=name, role=Role.ADMIN, surface=surface, client=client, groups=groups)
        filed = roles.lists(self.roles_file)
        # A name may look like a mark (an identity provider lets people choose theirs): it is none.
        marks = {"*", *([] if name.startswith("group:") else [name]), *(f"group:{group}" for group in groups)}
        for role, members in ((Role.ADMIN, self.admins), (Role.OPERATOR, self.operators), (Role.VIEWER, self.viewers)):
            if marks.intersection((*members, *filed[role])):
                return Actor(name=name, role=role, surface=surface, client=client, groups=groups)
        return Actor(name=name, role=None, surface=surface, client=client, groups=groups)

    def at_this_moment(self, actor: Actor) -> Actor:
        """The actor with the role it still has: what a list has taken away counts, what it has added does not yet.

        The role of the surface ``api`` comes from its token, which is looked at again with every request.
        """
        if not self.roles_configured or actor.surface == "api" or actor.role is None:
            return actor
        now = self.actor(actor.name, actor.groups, surface=actor.surface).role
        return dataclasses.replace(actor, role=None if now is None else min(actor.role, now))

    def secret(self) -> bytes:
        """The key that signs sessions and fingerprints secrets; made (mode 0600) beside the SQLite file when unset.

        Raises:
            Invalid: There is no key and no SQLite file to keep one beside, or it can't be read or written.
        """
        if self.secret_key:
            return self.secret_key.encode()
        path = _sqlite_path(self.database_url)
        if path is None:
            raise Invalid(
                "not set; expected a long random text, the same for every console", setting="OPSDASH_SECRET_KEY"
            )
        folder = path.absolute().parent
        if folder != data_dir() and not folder.is_dir():  # a slip in the path must not make one
            raise Invalid(f"there is no folder {folder}", hint=NO_FOLDER, setting="OPSDASH_DATABASE_URL")
        file = path.parent / "secret.key"
        try:
            if not file.exists():
                _make_key(file)
            key = file.read_text().strip()
        except OSError as error:
            raise Invalid(
                f"not set, and {file} can't be used: {error.strerror}", setting="OPSDASH_SECRET_KEY"
            ) from error
        if len(key) < MIN_SECRET_LENGTH:
            raise Invalid(
                f"not set, and {file} is empty or cut short; remove it to make a new one", setting="OPSDASH_SECRET_KEY"
            )
        return key.encode()


def _refuse_typos(environ: Mapping[str, str]) -> None:
    # OPSDASH_ADMIN=alice, ignored, would leave the lists empty and everybody at a shell an admin.
    known = [PREFIX + field.name.upper() for field in dataclasses.fields(Settings)]
    own = (name for name in environ if name.startswith(PREFIX) and not name.startswith(DEMO_PREFIX))
    for name in own:
        if name not in known and (close := difflib.get_close_matches(name, known, 1, 0.85)):
            raise Invalid(f"there is no such setting; did you mean {close[0]}?", setting=name)


def _make_key(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Written in full under another name (mode 0600), then linked: of two consoles that start together one key wins, and
    # neither reads it half written.
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        os.unlink(draft)


def _sqlite_path(url: str) -> Path | None:
    scheme, _, rest = url.partition("://")
    path = unquote(rest.removeprefix("/").partition("?")[0])
    return Path(path) if scheme.startswith("sqlite") and path and path != ":memory:" else None
