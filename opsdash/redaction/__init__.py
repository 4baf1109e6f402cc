"""What looks like a secret: the one classifier for tenants, peek, log, page and trail. Standard library only.

A secret is known by its name (``API Key``, ``passwd_old``), by its neighbour (``{"name": "password", "value": …}``,
``["Authorization", …]``), or by its format (`opsdash.redaction.formats`). A secret with an ordinary name and format
can't be known.
"""

from __future__ import annotations

import enum
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from opsdash.redaction.formats import ADDRESS, FORMATS, MAYBE, is_format

HIDDEN = "(hidden)"
FINGERPRINT = "hmac-sha256:"
"""The start of the keyed fingerprint that replaces a tenant's secret."""
SHORTEST = 5
"""Characters of the shortest text that can look like a secret; most settings are shorter."""
DEEP = 60
"""Levels that are read; deeper values are hidden as a whole."""
PARSED = 1_000_000
"""Characters of a text that is looked into as JSON."""
_NAME = 64
"""Characters of the longest text that can be the name of its neighbour."""
_CACHED = 100
_FEW, _SHORT = 32, 500
"""Keys of an object, and their characters together, that are remembered as they come."""
_TAIL = 40
"""Characters before a name's end in which it may have begun."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_KEYS = (
    "api|app|access|private|priv|signing|sign|signature|encryption|encrypt|decryption|crypto|cipher|license|hmac|ssh|rsa"
    "|dsa|ecdsa|pgp|gpg|aes|auth|service|account|db|database|client|secret|master|shared|storage|host|deploy|consumer"
    "|webhook|ssl|tls|pem|root|jwt|session|server|subscription|security|admin|function|write|read|publishable|restricted"
    "|stripe|aws|azure|gcp|google|openai|anthropic|sendgrid|twilio|mailgun|mailchimp|github|gitlab|slack|datadog|sentry"
    "|paypal|algolia|cloudflare|s3|fernet|django|flask|vapid|totp|otp|recovery|backup|wallet|seed|mnemonic"
)
_OWNERS = (
    "db|user|my|root|admin|ftp|sftp|smtp|imap|mail|mysql|pg|postgres|redis|mongo|sql|login|wifi|vpn|ldap|proxy|key|app"
)
_WITHIN = re.compile(
    r"passw|passphrase|passcode|pwd|secret|token|credential|authoriz|bearer|cookie|webhook|connectionstring|connstr"
    rf"|sessionid|sessid|csrf|xsrf|(?:{_KEYS})keys?(?![a-z]*board)|accountkey|hmac|mnemonic|seedphrase|recoverycode"
    rf"|(?:{_OWNERS})(?:pass|pw)\Z|(?:basic|http|proxy|redis|smtp|digest|rediscli)auth\Z"
    "|contrasena|kennwort|motdepasse|wachtwoord|parol|парол|密码|密碼|パスワード|비밀번호"
)
"""In the letters of a name, run together."""
_LAST = frozenset((
    "pass", "passes", "pw", "pin", "pins", "otp", "otps", "totp", "auth", "auths", "authentication", "salt",
    "salts", "sig", "sas", "jwt", "jwts", "cvv", "cvc", "dsn", "dsns", "session", "sessions", "cred", "creds",
    "senha", "pat",
))  # fmt: skip
"""As the last word of a name, but for what says which one it is."""
_WHICH = frozenset((
    "old", "new", "prev", "previous", "current", "backup", "bak", "next", "tmp", "temp", "value", "values", "val",
    "text", "hash", "hashed", "encrypted", "enc", "raw", "plain", "base", "b64", "prod", "dev", "test", "live",
    "staging", "primary", "secondary", "main", "default", "code", "string", "str", "header", "headers", "data",
    "confirm", "confirmation", "repeat", "again", "id", "key", "keys",
))  # fmt: skip
_QUANTITIES = frozenset((
    "timeout", "ttl", "age", "expiry", "expires", "expire", "expiration", "lifetime", "length", "len", "count",
    "counts", "limit", "max", "min", "size", "rate", "attempts", "retries", "days", "hours", "minutes", "seconds",
    "s", "ms", "enabled", "disabled", "required", "allowed", "rotation", "total", "used",
))  # fmt: skip
_NAMES = frozenset((
    "name", "key", "field", "header", "param", "parameter", "variable", "var", "setting", "option", "property",
    "attribute", "attr", "k", "n", "env", "label",
))  # fmt: skip
"""Last words of keys whose value names the value beside it."""
_HOLDS = frozenset((
    "value", "values", "val", "v", "content", "contents", "data", "text", "default", "body",
))  # fmt: skip
_ASSIGNED = (
    r"(?P<name>(?:pass|pwd|pw|secret|token|cred|key|auth|cookie|sess|bearer|pin|otp|salt|sig|sas|jwt|cvv|cvc|dsn|hook"
    r"|conn|hmac|csrf|xsrf|mnemonic|seed|recovery|pat|senha|contras|kennwort|motdepasse|wachtwoord)[\w.\-]{0,40}"
    r"(?:[ ][\w.\-]{1,16})?|[^\x00-\x7f]{2,40})[\"'`\])]{0,3}[ \t]{0,8}(?:[:=]|(?<=[\w'\"])>)"
)
"""What may be the end of a secret's name and a sign that its value follows."""
_NUMBER = re.compile(r"[ \t]*\d{1,9}(?![\w.-])")
"""What follows a name that measures, as in ``?tokens=3``."""
_ASSIGNED_ASCII, _ASSIGNED_ANY = re.compile(_ASSIGNED), re.compile(_ASSIGNED, re.IGNORECASE)
_BACKWARDS = re.compile(r"[\w.\-]+(?:[ \t]+[\w.\-]*[^\W_]){0,2}")
_OPTION = re.compile(r"(?<!\S)--?([\w-]{2,40})[ \t]+(?=[^\s-])")
_JSON = re.compile(r"[{\[\"]")
_PIECES = 8
_decoder = json.JSONDecoder()
_NOT_BLANK = re.compile(r"\S")
_NESTED = (dict, list, tuple)
_SHOWN = re.compile(r"\s*[\"'\[({]*\s*(?:\(hidden\)|hmac-sha256:|\*{3}|…|hidden\))")
"""Text that already replaces a secret."""


class NameKind(enum.IntFlag):
    """What a name says; 0, as of most: nothing.

    ``SECRET``: what it names is one. ``QUANTITY``: unless it is a number, as of ``max_tokens``. ``ITSELF``: it is
    one, or has one in it. ``NAMES``: it may hold the name of its neighbours. ``HOLDS``: it may hold what another names.
    """

    SECRET = 1
    QUANTITY = 2
    ITSELF = 4
    NAMES = 8
    HOLDS = 16


# As numbers: an enum's own operators cost more than what they are used for.
SECRET, QUANTITY, ITSELF, NAMES, HOLDS = (int(flag) for flag in NameKind)


def name_of(name: object) -> int:
    """What a name says, as of `NameKind`. Cost: a look into a cache; some 10 µs at first sight."""
    text = name if isinstance(name, str) else str(name)
    return _cached(text) if len(text) <= _CACHED else _name_of(text)


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret, however it is spelled."""
    return bool(name_of(name) & SECRET)


def is_secret_text(text: str, depth: int = 0) -> bool:
    """Whether there is a secret in a text. Cost: in proportion to its length, below 1 µs for a few words."""
    return len(text) >= SHORTEST and MAYBE.search(text) is not None and _is_secret(text, depth)


def _is_secret(text: str, depth: int) -> bool:
    """What `MAYBE` does not decide."""
    if is_format(text) or _assigned(text) is not None:
        return True
    if not text.isascii() and (spelled := _plain(text)) != text and _assigned(spelled) is not None:
        return True
    for value in _parsed(text):
        if depth >= DEEP or cleaned(value, _hide, depth + 1) != value:
            return True
    return "%" in text and (plain := unquote(text)) != text and (depth >= DEEP or is_secret_text(plain, depth + 1))


def masked(text: str) -> str:
    """The text without its secrets: of an address the user and password, of ``password: …`` the rest of the line."""
    if not is_secret_text(text):
        return text
    kept = ADDRESS.sub(f"://{HIDDEN}@", text)
    for pattern in FORMATS:
        kept = pattern.sub(HIDDEN, kept)
    start = 0
    while (at := _assigned(kept, start)) is not None:
        first = _NOT_BLANK.search(kept, at)
        end = kept.find("\n", first.start() if first else at)
        kept, start = f"{kept[:at]}{HIDDEN}{'' if end < 0 else kept[end:]}", at
    return HIDDEN if is_secret_text(kept) else kept


def hides(kind: int, value: Any) -> bool:
    """Whether a value is hidden for its name: a truth is no secret, nor is what is not there."""
    if not kind & SECRET or isinstance(value, bool) or (not value and value != 0):
        return False
    return not (kind & QUANTITY and isinstance(value, int | float))


def hidden_keys(values: Mapping[Any, Any]) -> set[Any]:
    """Keys whose values are hidden, because of the key's name or of the value beside it."""
    return _hidden_keys(values, _kinds(values))


def _kinds(values: Mapping[Any, Any]) -> Mapping[Any, int]:
    """The keys that say something, with what. Cost: one look into a cache where they are few and short."""
    names = tuple(values)
    try:
        few = len(names) <= _FEW and len("".join(names)) <= _SHORT
    except TypeError:  # not all of them are text
        few = False
    return _kinds_of_few(names) if few else _kinds_of(names)


def _hidden_keys(values: Mapping[Any, Any], kinds: Mapping[Any, int]) -> set[Any]:
    if not kinds:
        return set()
    found = {key for key, kind in kinds.items() if hides(kind, values[key])}
    holders = [key for key, kind in kinds.items() if kind & HOLDS]
    if holders or any(kind & NAMES for kind in kinds.values()):
        for key, value in values.items():
            if isinstance(value, str) and len(value) <= _NAME and is_secret_name(value):
                hidden = values if kinds.get(key, 0) & NAMES else holders
                found.update(one for one in hidden if one != key and not isinstance(values[one], bool | None))
    return found


def hidden_items(values: Sequence[Any]) -> set[int]:
    """Places in a list whose values are hidden: the second of a pair that the first one names; after ``--password``."""
    return {
        at + 1
        for at, value in enumerate(values[:-1])
        if isinstance(value, str)
        and (len(values) == 2 or value.startswith("-"))
        and len(value) <= _NAME
        and "=" not in value
        and is_secret_name(value)
    }


def cleaned(value: Any, replace: Callable[[Any], Any], depth: int = 0) -> Any:
    """A value of JSON's kinds with ``replace(secret)`` in place of each secret, at any depth.

    Args:
        replace: Gets what is hidden, a name that is a secret itself among it.
    """
    if isinstance(value, str):
        return replace(value) if is_secret_text(value, depth) else value
    if not isinstance(value, _NESTED):
        return value
    if depth >= DEEP:
        return replace(value)
    depth += 1
    if isinstance(value, dict):
        kinds, kept = _kinds(value), {}
        hidden = _hidden_keys(value, kinds) if kinds else ()
        for key, inner in value.items():
            name = replace(key) if kinds and kinds.get(key, 0) & ITSELF else key
            if key in hidden:
                kept[name] = replace(inner)
            elif isinstance(inner, str):  # a call less for most of what is there
                secret = len(inner) >= SHORTEST and MAYBE.search(inner) is not None and _is_secret(inner, depth)
                kept[name] = replace(inner) if secret else inner
            else:
                kept[name] = cleaned(inner, replace, depth) if isinstance(inner, _NESTED) else inner
        return kept
    places = hidden_items(value)
    return [replace(inner) if at in places else cleaned(inner, replace, depth) for at, inner in enumerate(value)]


class LogFilter(logging.Filter):
    """Takes secrets out of what is logged, tracebacks included; for handlers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """The record, with its text made and masked."""
        record.msg, record.args = masked(record.getMessage()), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = masked(record.exc_text or logging.Formatter().formatException(record.exc_info))
        return True


def _hide(_secret: Any) -> str:
    return HIDDEN


def _name_of(name: str) -> int:
    words = [word.lower() for word in _WORDS.findall(_plain(name))]
    last = next((word for word in reversed(words) if word not in _WHICH and not word.isdigit()), "")
    kind = ITSELF if is_secret_text(name) else 0
    if last in _LAST or _WITHIN.search("".join(words)) is not None:
        kind |= SECRET | (0 if _QUANTITIES.isdisjoint(words) else QUANTITY)
    if words:
        kind |= (NAMES if words[-1] in _NAMES else 0) | (HOLDS if words[-1] in _HOLDS else 0)
    return kind


def _plain(text: str) -> str:
    """Without accents, widths and what takes no room."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    return "".join(char for char in apart if unicodedata.category(char) not in {"Mn", "Cf"})


_cached = lru_cache(maxsize=8_192)(_name_of)


def _kinds_of(names: Iterable[Any]) -> Mapping[Any, int]:
    return {name: kind for name in names if (kind := name_of(name))}


_kinds_of_few = lru_cache(maxsize=1_024)(_kinds_of)


def _assigned(text: str, start: int = 0) -> int | None:
    """Where what follows the name of a secret begins (``password: …``); None where nothing does."""
    if ":" in text or "=" in text or ">" in text:
        plain = text.isascii()  # then lower case has the same length, and is looked through in half the time
        signs = _ASSIGNED_ASCII.finditer(text.lower(), start) if plain else _ASSIGNED_ANY.finditer(text, start)
        for sign in signs:
            # Read backwards, so that a long text is not looked through again for each sign.
            named = _BACKWARDS.match(text[max(0, sign.start() - _TAIL) : sign.end("name")][::-1])
            kind = name_of(named.group()[::-1]) if named else 0
            if kind & SECRET:
                rest = text[sign.end() : sign.end() + 40]
                if kind & QUANTITY and _NUMBER.match(rest):
                    continue
                if rest.strip(" \t\r\n=>:\"'") and not _SHOWN.match(rest):
                    return sign.end()
    if " -" in text or text.startswith("-"):
        for option in _OPTION.finditer(text, start):
            if is_secret_name(option.group(1)) and not _SHOWN.match(text, option.end()):
                return option.end()
    return None


def _parsed(text: str) -> Iterator[Any]:
    """What JSON says in a text: of the whole, or of the first ``_PIECES`` places where some may begin."""
    if len(text) > PARSED:
        return
    end, pieces = 0, 0
    while (begin := _JSON.search(text, end)) is not None and pieces < _PIECES:
        pieces += 1
        try:
            value, end = _decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            end = begin.end()
            continue
        if isinstance(value, dict | list) or (isinstance(value, str) and len(value) < len(text) - 1):
            yield value
