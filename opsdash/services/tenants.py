"""Tenant configurations: from the database's rows to ``tenant_config:{tenant_id}`` in Redis, without secrets."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis
import sqlalchemy as sa

from opsdash.errors import Unavailable, Uncertain
from opsdash.model import count
from opsdash.services.broker import Broker
from opsdash.services.database import answering
from opsdash.services.tables import tenant_config

CHUNK = 500
"""Rows read and written at a time: bounds memory here and the time Redis spends on one pipeline."""
NAMED = 200
"""Tenants whose result is told one by one; beyond that the counts stand for them."""
MAX_ID_LENGTH = 200
MAX_CONFIG_BYTES = 1_000_000
_ID = re.compile(r"[^\s\x00-\x1f\x7f]+")
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|pwd$|secret|token|(api|access|private|signing|encryption|license)_?key|credential"
    r"|^auth(orization)?$|cookie|dsn$|webhook|salt$|^otp|^pin$|bearer",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"://[^/\s@]*:[^/\s@]+@"  # a URL with a password in it
    r"|^(Bearer|Basic|Token)\s"
    r"|-----BEGIN"
    r"|\b(AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\b(sk|pk|rk|ghp|gho|ghs|glpat|xox[a-z]|SG)[-_.][\w.-]{8,}"  # Stripe, GitHub, GitLab, Slack, SendGrid
    r"|hooks\.slack\.com/services/"
    r"|^eyJ[\w-]+\.[\w-]+\."  # a JSON Web Token
)
"""What looks like a secret is treated as one. A secret by an innocent name that looks like none can't be known."""


@dataclass(slots=True)
class SyncReport:
    """What one sync did.

    Attributes:
        written: How many configurations were written.
        failed: Tenant → why it was not.
        first_written: The first of those that were.
    """

    written: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    first_written: list[str] = field(default_factory=list)

    @property
    def results(self) -> dict[str, str]:
        """Tenant → ``synced`` or why not, for at most `NAMED` of them, the failed ones first."""
        named = {**self.failed, **{tenant: "synced" for tenant in self.first_written if tenant not in self.failed}}
        return dict(list(named.items())[:NAMED])


@dataclass(frozen=True, slots=True)
class Tenants:
    """Reads ``tenant_config`` and writes its public part to Redis.

    Attributes:
        secret: Gives the key for fingerprints; asked when a sync begins, so that reading needs none.
    """

    engine: sa.Engine
    broker: Broker
    secret: Callable[[], bytes]

    def count(self) -> int:
        """Rows in the database."""
        with answering(self.engine), self.engine.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(tenant_config)) or 0)

    def sync(self) -> SyncReport:
        """Writes every row's public configuration to its key; a bad row fails alone and is named.

        Raises:
            Unavailable: The database did not answer; nothing was written.
            Uncertain: Redis or the database broke off midway; every key is either old or new.
        """
        report, secret = SyncReport(), self.secret()
        try:
            self._write_all(report, secret)
        except (Unavailable, redis.RedisError) as error:
            if report.written == 0 and isinstance(error, Unavailable):
                raise
            raise Uncertain(
                f"The sync broke off after {count(report.written, 'tenant')}: {error} The others keep their old"
                " configuration; it can be run again."
            ) from error
        return report

    def _write_all(self, report: SyncReport, secret: bytes) -> None:
        for rows in self._chunks():
            sent: list[str] = []
            with self.broker.client.pipeline(transaction=False) as pipe:
                for row in rows:
                    try:
                        text = public_config(row._mapping, secret)
                    except ValueError as error:
                        report.failed[str(row.tenant_id)[:MAX_ID_LENGTH] or "(empty)"] = str(error)
                    else:
                        pipe.set(self.broker.keys.tenant_config(row.tenant_id), text)
                        sent.append(row.tenant_id)
                report.written += len(pipe.execute())
            report.first_written += sent[: NAMED - len(report.first_written)]

    def _chunks(self) -> Iterator[list[sa.Row[Any]]]:
        # settings as text: one row of broken JSON must fail alone, not the whole result.
        columns = [c if c.name != "settings" else sa.cast(c, sa.Text).label("settings") for c in tenant_config.c]
        query = sa.select(*columns).order_by(tenant_config.c.tenant_id)
        with answering(self.engine), self.engine.connect() as connection:
            result = connection.execution_options(yield_per=CHUNK).execute(query)
            for rows in result.partitions():
                yield list(rows)


def public_config(row: Any, secret: bytes) -> str:
    """One row as the JSON that goes to Redis: keyed fingerprints in place of secrets.

    Args:
        row: Mapping with the columns of ``tenant_config``; ``settings`` as JSON text.
        secret: Key of the fingerprints (HMAC-SHA-256): equal secrets of one tenant look equal, none can be guessed.

    Raises:
        ValueError: The row can't be a configuration, in a few words.
    """
    tenant_id = str(row["tenant_id"])
    if not _ID.fullmatch(tenant_id) or len(tenant_id) > MAX_ID_LENGTH:
        raise ValueError(f"tenant_id must be 1 to {MAX_ID_LENGTH} characters without blanks or control characters")
    try:
        settings = json.loads(row["settings"] or "{}")
    except ValueError:
        raise ValueError("settings are not valid JSON") from None
    if not isinstance(settings, dict):
        raise ValueError("settings must be a JSON object")  # noqa: TRY004 - the row is bad, not the type of an argument

    def fingerprint(value: Any) -> str:
        message = f"{tenant_id}\0{json.dumps(value, sort_keys=True)}".encode()
        return "hmac-sha256:" + hmac.new(secret, message, hashlib.sha256).hexdigest()[:16]

    updated_at = row["updated_at"]
    config = {
        "tenant_id": tenant_id,
        "name": row["name"],
        "enabled": bool(row["enabled"]),
        "settings": _without_secrets(settings, fingerprint),
        "api_key_fingerprint": fingerprint(row["api_key"]) if row["api_key"] else None,
        "updated_at": updated_at.isoformat() if updated_at else None,
    }
    text = json.dumps(config, sort_keys=True, ensure_ascii=False)
    if len(text.encode()) > MAX_CONFIG_BYTES:
        raise ValueError(f"the configuration is larger than {MAX_CONFIG_BYTES:,} bytes")
    return text


def _without_secrets(value: Any, fingerprint: Callable[[Any], str]) -> Any:
    if isinstance(value, dict):
        return {
            key: fingerprint(inner) if inner and _SECRET_NAME.search(key) else _without_secrets(inner, fingerprint)
            for key, inner in value.items()
        }
    if isinstance(value, str) and _SECRET_VALUE.search(value):
        return fingerprint(value)
    if isinstance(value, list):
        return [_without_secrets(inner, fingerprint) for inner in value]
    return value
