"""The parts of a tenant's row for Redis: everything except secrets, which become keyed fingerprints."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from opsdash.redaction import FINGERPRINT, ITSELF, cleaned, is_secret_name, is_secret_text, name_of
from opsdash.services.audit.chain import mac_with

MAX_ID_LENGTH = 200
MAX_CONFIG_BYTES = 1_000_000
OVERSIZED = "<oversized>"
"""What a source may give in place of settings that are larger than that, so that nobody has to read them."""
SHOWN = 40
"""Characters of a value that a preview shows."""
_ID = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff]+")

_TRUTH = {**dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True), "": False} | dict.fromkeys(
    ("false", "f", "no", "n", "off", "0"), False
)
"""A column of text says it in these words; any other truth in Python's own way."""

_encode = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, check_circular=False
).encode  # made once: it costs more than its work; what was cleaned is new, and no circle
_decode = json.JSONDecoder().decode
_canonical = json.JSONEncoder(sort_keys=True).encode


def usable(tenant_id: str) -> bool:
    """Whether it can be part of a key."""
    return len(tenant_id) <= MAX_ID_LENGTH and _ID.fullmatch(tenant_id) is not None


def digest(text: str) -> str:
    """Of a configuration in Redis; differs from that of another one, and reveals nothing about it."""
    return digest_of(text.encode())


def digest_of(data: bytes) -> str:
    """The same of its bytes."""
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def public_config(row: Any, secret: bytes) -> str:
    """One row as the JSON that goes to Redis: keyed fingerprints in place of secrets.

    Args:
        row: Mapping with the columns of ``tenant_config``; ``settings`` as JSON text or as a dict.
        secret: Key of the fingerprints (HMAC-SHA-256): equal secrets of one tenant look equal, none can be guessed.

    Raises:
        ValueError: The row can't be a configuration, in a few words; never with a value of it.
    """
    tenant_id = id_of(row)
    if not usable(tenant_id):
        raise ValueError(f"tenant_id must be 1 to {MAX_ID_LENGTH} characters without blanks or control characters")
    settings = _settings(row.get("settings"))
    api_key = row.get("api_key")

    mac = mac_with(secret)

    def fingerprint(value: Any) -> str:
        return FINGERPRINT + mac(f"{tenant_id}\0{_canonical(value)}".encode())[:16]

    try:
        text = _encode(
            {
                "tenant_id": tenant_id,
                "name": cleaned(row.get("name"), fingerprint),
                "enabled": _truth(row.get("enabled")),
                "settings": cleaned(settings, fingerprint),
                "api_key_fingerprint": fingerprint(api_key) if api_key else None,
                "updated_at": _in_utc(row.get("updated_at")),
            }
        )
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("it contains characters that are not text") from None
    except (TypeError, ValueError, RecursionError):
        raise ValueError("it contains values that JSON can't represent") from None
    if size > MAX_CONFIG_BYTES:
        raise ValueError(f"the configuration is larger than {MAX_CONFIG_BYTES:,} bytes")
    return text


def id_of(row: Any) -> str:
    """The tenant's id as text; empty where the row has none."""
    tenant_id = row.get("tenant_id")
    return "" if tenant_id is None else str(tenant_id)


def instant(value: Any) -> datetime | None:
    """A time as databases give it, in UTC; one without a zone is UTC already. None: it is no time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _in_utc(value: Any) -> Any:
    at = instant(value)
    return value if at is None else at.isoformat()


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() not in _TRUTH:
            raise ValueError("enabled is neither true nor false")
        return _TRUTH[value.lower()]
    return value is None or bool(value)


def _settings(given: Any) -> dict[str, Any]:
    if isinstance(given, str) and (given == OVERSIZED or len(given) > MAX_CONFIG_BYTES):
        raise ValueError(f"the settings are larger than {MAX_CONFIG_BYTES:,} characters")
    try:
        settings = _decode(given) if isinstance(given, str) and given else given or {}
    except (ValueError, RecursionError):
        raise ValueError("settings are not valid JSON") from None
    if not isinstance(settings, dict):
        raise ValueError("settings must be a JSON object")  # noqa: TRY004 - the row is bad, not the type of an argument
    return settings


def changes(old: str, new: str) -> list[str]:
    """What differs between two configurations, a field each; of a secret only that it does.

    The old value may be any text in the key, so parts of it that look like a secret are not shown either.
    """
    if not old:
        return ["was empty, or too large to be read"]
    try:
        before = json.loads(old)
        if not isinstance(before, dict):
            return ["was no JSON object"]
        was, now = dict(_fields(before)), dict(_fields(json.loads(new)))
        return _differences(was, now)
    except (ValueError, RecursionError):
        return ["was not valid JSON"]


def _differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    paths = was.keys() | now.keys()
    grown = {path.rpartition(".")[0] for path in paths}
    return [
        f"{path} changed"
        if _hidden(path, was.get(path)) or _hidden(path, now.get(path))
        else f"{path}: {_shown(was, path)} → {_shown(now, path)}"
        for path in sorted(paths)
        if was.get(path, ...) != now.get(path, ...)
        # An object that was empty, or is now, is described by its contents.
        and not (path in grown and not was.get(path, {}) and not now.get(path, {}))
    ]


def _fields(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        key = FINGERPRINT if name_of(name) & ITSELF else name
        if isinstance(inner, dict) and inner:
            yield from _fields(inner, f"{prefix}{key}.")
        else:
            yield prefix + key, inner


def _hidden(path: str, value: Any) -> bool:
    if any(is_secret_name(part) for part in path.split(".")):
        return True
    if isinstance(value, list):
        text = json.dumps(value)
        return FINGERPRINT in text or json.dumps(cleaned(value, lambda _secret: FINGERPRINT)) != text
    return isinstance(value, str) and (value.startswith(FINGERPRINT) or is_secret_text(value))


def _shown(fields: dict[str, Any], path: str) -> str:
    if path not in fields:
        return "nothing"
    text = json.dumps(fields[path], ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
