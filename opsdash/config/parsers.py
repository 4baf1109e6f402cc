"""From a variable's text to a setting's value; each raises ValueError with what is expected."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import os
import re
from collections.abc import Callable

from opsdash.config import broker_url, roles
from opsdash.model import Role
from opsdash.model.time_in_queue import BOUNDS_S, Objective
from opsdash.text import choices, parse_duration, typed_duration
from opsdash.values import frozen

MIN_SECRET_LENGTH = 16
TASK_PLACES = frozenset({"{task_id}", "{task}", "{queue}", "{trace_id}"})
"""What an address of a task elsewhere may have in it."""
MAX_ADDRESS = 500
_WEB = re.compile(r"https?://[^\s\"'<>\\{}/?#@]+(?:[/?#][^\s\"'<>\\]*)?")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_TAKEN_HEADERS = {"host", "cookie", "authorization", "origin", "user-agent", "referer", "forwarded", "x-forwarded-for"}
"""Every browser sends these, or the client's address is in them: none can name a user."""


def redis_url(value: str) -> str:
    """The broker's address, in one spelling of the many that Celery and redis-py take."""
    return broker_url.read(value).url


NO_PREFIX = {'""', "''"}
"""How an environment says "none", where an empty variable counts as not set."""
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")
MAX_KEY_PART = 100


def key_prefix(value: str) -> str:
    """Kombu's ``global_keyprefix``."""
    prefix = value.strip()
    if prefix in NO_PREFIX:
        return ""
    if len(prefix) > MAX_KEY_PART or not prefix.isprintable():
        raise ValueError(f"expected global_keyprefix of the app, at most {MAX_KEY_PART} characters, got {value!r}")
    return prefix


def separator(value: str) -> str:
    """Kombu's ``sep``; a control character is written as its escape, such as the default one."""
    separator = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), value.strip())
    if not 0 < len(separator) <= MAX_KEY_PART or "\0" in separator:
        raise ValueError(f"expected sep of the app, such as : or \\x06\\x16, got {value!r}")
    return separator


def priority_steps(value: str) -> tuple[int, ...]:
    """Kombu's ``priority_steps``."""
    parts = [part.strip() for part in value.split(",")]
    steps = tuple(int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 3)
    if len(steps) != len(parts) or list(steps) != sorted({*steps}) or not all(step <= 255 for step in steps):
        raise ValueError(f"expected numbers from 0 to 255, the lowest first, such as 0,3,6,9; got {value!r}")
    return steps


def text(value: str) -> str | None:
    """Any text; None where it is blank."""
    return value.strip() or None


def name(value: str) -> str:
    """One word of at most 100 characters."""
    if not value.strip() or len(value) > 100 or not value.isprintable():
        raise ValueError(f"expected a name of at most 100 characters, got {value[:100]!r}")
    return value.strip()


def task_urls(value: str) -> tuple[str, ...]:
    """Web addresses with places for what a task is known by, with blanks between them."""
    for address in (given := tuple(dict.fromkeys(value.split()))):
        places = re.findall(r"[{][^{}]*[}]|[{}]", address)
        if not re.fullmatch(r"https?://[^\s\"'<>\\{}/?#@]+(?:[/?#][^\s\"'<>\\]*)?", address):
            raise ValueError(f"expected addresses that begin with http:// or https:// and a host, got {address!r}")
        if not places or not TASK_PLACES.issuperset(places):
            raise ValueError(f"expected an address with {', '.join(sorted(TASK_PLACES))} in it, got {address!r}")
    return given


def web_address(value: str) -> str:
    """An address of the web, with a host and without a user."""
    address = value.strip()
    if len(address) > MAX_ADDRESS or not _WEB.fullmatch(address):
        raise ValueError(f"expected an address that begins with https:// or http:// and a host, got {value[:200]!r}")
    return address


def names(value: str) -> tuple[str, ...]:
    """Comma-separated, each once, in the order given."""
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def number(low: float, high: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    """A parser of numbers within the two bounds, both included."""

    def parse(value: str) -> float:
        try:
            number = kind(value)
        except ValueError:
            raise ValueError(f"expected a number, got {value!r}") from None
        if not low <= number <= high:
            raise ValueError(f"expected {low:,} to {high:,}, got {value!r}")
        return number

    return parse


def auth(value: str) -> str | None:
    """How people sign in; None: closed."""
    if value.strip() not in {"", "dev", "header", "basic", "oauth"}:
        raise ValueError(f"expected dev, header, basic or oauth, got {value!r}")
    return value.strip() or None


def header(value: str) -> str:
    """The name of a request header that only the proxy sets."""
    name = value.strip()
    if not _HEADER.fullmatch(name) or name.lower() in _TAKEN_HEADERS:
        raise ValueError(f"expected the name of a header that only the proxy sets, got {value!r}")
    return name


def networks(value: str) -> tuple[str, ...]:
    """Comma-separated addresses or networks, as networks."""
    found = []
    for part in names(value):
        try:
            found.append(str(ipaddress.ip_network(part, strict=False)))
        except ValueError:
            raise ValueError(f"expected addresses or networks such as 10.0.0.7 or 10.0.0.0/24, got {part!r}") from None
    return tuple(found)


def path(value: str) -> str:
    """A path; ``~`` is the home folder."""
    return os.path.expanduser(value.strip())


def audit(value: str) -> str:
    """What happens while the database is away."""
    if value.strip() not in {"spool", "strict"}:
        raise ValueError(f"expected `spool` or `strict`, got {value!r}")
    return value.strip()


def pattern(value: str) -> str:
    """A regular expression, as its text."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from None
    return value


def secret(value: str) -> str | None:
    """A key of a safe length; None where it is empty."""
    if value and len(value) < MIN_SECRET_LENGTH:
        raise ValueError(f"expected at least {MIN_SECRET_LENGTH} characters, got {len(value)}")
    return value or None


@frozen(kw_only=True)
class ApiToken:
    """One program's key to the JSON API: the audit log shows its name, its role says what it may do."""

    name: str
    role: Role
    token: str = dataclasses.field(repr=False)


BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What an ``Authorization: Bearer`` header can carry (RFC 6750)."""


def api_tokens(value: str) -> tuple[ApiToken, ...]:
    """``name:role:token``, comma-separated. A token is never repeated in the complaint."""
    found: list[ApiToken] = []
    for number, part in enumerate((part.strip() for part in value.split(",")), start=1):
        name, role, token = (*(piece.strip() for piece in part.split(":", 2)), "", "")[:3]
        if not name or not name.isprintable() or role.upper() not in Role.__members__:
            roles = ", ".join(known.name.lower() for known in Role)
            raise ValueError(f"expected name:role:token with role of {roles}; number {number} is none")
        if len(token) < MIN_SECRET_LENGTH or not BEARER.fullmatch(token):
            raise ValueError(
                f"the token of {name!r} has {len(token)} characters; expected at least {MIN_SECRET_LENGTH}, of"
                " letters, digits and -._~+/="
            )
        if any(name == other.name or token == other.token for other in found):
            raise ValueError(f"{name!r} repeats the name or the token of another one")
        found.append(ApiToken(name=name, role=Role[role.upper()], token=token))
    return tuple(found)


_OBJECTIVE = re.compile(r"(\d{1,2}(?:\.\d{1,3})?) ?%\s+within\s+(\w+)\s+over\s+(\w+)")
SHORTEST_OVER_S, LONGEST_OVER_S = 60, 86_400


def objectives(value: str) -> tuple[tuple[str, Objective], ...]:
    """``queue=95% within 30s over 1h``, comma-separated."""
    found: dict[str, Objective] = {}
    for part in filter(str.strip, value.split(",")):
        queue, _, text = (piece.strip() for piece in part.rpartition("="))
        promise = _OBJECTIVE.fullmatch(text)
        if not queue or promise is None or not float(promise[1]):
            raise ValueError(f"expected queue=95% within 30s over 1h, got {part.strip()!r}")
        if queue in found:
            raise ValueError(f"{queue} is named twice")
        within_s, over_s = parse_duration(promise[2]), parse_duration(promise[3])
        if within_s not in BOUNDS_S:
            near = sorted(sorted(whole_bounds(), key=lambda one: abs(math.log(one / within_s)))[:4])
            raise ValueError(
                f"expected a time that is measured exactly, {choices(map(typed_duration, near))}; got {part!r}"
            )
        if not SHORTEST_OVER_S <= over_s <= LONGEST_OVER_S:
            raise ValueError(f"expected over 1m to 24h, got {part.strip()!r}")
        found[queue] = Objective(share=float(promise[1]) / 100, within_s=float(within_s), over_s=over_s)
    return tuple(found.items())


def whole_bounds() -> list[int]:
    """The times of whole seconds that an objective may have."""
    return [int(one) for one in BOUNDS_S if one == int(one)]


def roles_file(value: str) -> str:
    """The path of a roles file that can be read."""
    roles.read(value.strip())
    return value.strip()


TENANT_COLUMNS = ("tenant_id", "name", "enabled", "settings", "api_key", "updated_at")
_NAME = re.compile(r"[^\W\d]\w*")


def callable_path(value: str) -> str | None:
    """``package.module:callable``."""
    path = value.strip()
    module, _, name = path.partition(":")
    if not all(_NAME.fullmatch(part) for part in (*module.split("."), name)):
        raise ValueError(f"expected package.module:callable, got {value!r}")
    return path


def table(value: str) -> str:
    """``table`` or ``schema.table``."""
    parts = value.strip().split(".")
    if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
        raise ValueError(f"expected table or schema.table, got {value!r}")
    return value.strip()


def columns(value: str) -> tuple[tuple[str, str], ...]:
    """``column=its name there``, comma-separated; an empty name means there is none."""
    found: dict[str, str] = {}
    for pair in filter(str.strip, value.split(",")):
        name, is_pair, own = (part.strip() for part in pair.partition("="))
        if not is_pair or name not in TENANT_COLUMNS:
            raise ValueError(
                f"expected column=its name there, with column of {', '.join(TENANT_COLUMNS)}; got {pair!r}"
            )
        if name in found:
            raise ValueError(f"{name} is named twice")
        if (own and not _NAME.fullmatch(own)) or (name == "tenant_id" and not own):
            raise ValueError(f"expected the name of a column after {name}=, got {own!r}")
        found[name] = own
    return tuple(found.items())
