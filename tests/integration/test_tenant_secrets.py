"""Secrets are planted wherever a row has room for one; nothing that opsdash writes may hold a piece of them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.tenants import add, change, execute, preview, remove, stored, sync

from opsdash.errors import Unavailable
from opsdash.model import to_plain
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_log
from opsdash.services.tenants.redaction import public_config

PIECE = "pl4nted"
"""Part of each secret, near its beginning: the first ten characters are a leak too."""
KEY = f"{PIECE}-0123456789-abcdef"
JWT = f"eyJhbGciOiJI{PIECE}.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
SETTINGS: dict[str, Any] = {
    "plan": "gold",
    "password": KEY,
    "smtp": {"host": "mx", "passwd": KEY, "auth": {"user": "u", "token": KEY}},
    "session": JWT,
    "database": f"postgresql://app:{KEY}@db/app",
    "mirrors": [{"url": f"amqp://u:{KEY}@mq//"}, [f"Bearer {KEY}"]],
    "hooks": [{"access_token": KEY}, {"client_secret": [KEY, {"deeper": KEY}]}],
    f"https://u:{KEY}@host": True,
    "stripe": f"sk_live_{KEY}",
    "pem": f"-----BEGIN PRIVATE KEY-----\n{KEY}",
}


def everything_in_redis(console: Console) -> Iterator[str]:
    """Every key with all that is in it, whatever its type."""
    client = console.broker.client
    reads: dict[str, Callable[[str], Any]] = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
        "stream": client.xrange,
    }
    for key in client.scan_iter():
        yield f"{key} {reads[client.type(key)](key)}"


def everything_audited(console: Console) -> Iterator[str]:
    """The table itself, both exports, and what the page and Python read."""
    with console.engine.connect() as connection:
        yield from (str(row) for row in connection.execute(sa.select(audit_log)))
    yield from console.audit.export(form="csv")
    yield from console.audit.export(form="jsonl")
    yield str(console.get_recent_operations())


def test_no_planted_secret_reaches_redis_the_log_the_trail_or_an_export(
    console: Console, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    add(console, "acme", api_key=KEY, settings=SETTINGS)
    add(console, "url", name=f"https://u:{KEY}@host", api_key=JWT)
    add(console, "gone", api_key=KEY, settings=SETTINGS)
    add(console, "not an id", api_key=KEY, settings={"password": KEY})
    shown = [preview(console)]
    assert sync(console).affected == 3
    settings = {**SETTINGS, "password": f"{KEY}2", "mirrors": [], "session": "-"}
    change(console, "acme", api_key=f"{KEY}2", settings=settings)
    remove(console, "gone")
    console.broker.client.set("tenant_config:url", json.dumps({"settings": {f"https://u:{KEY}@h": 1}}))
    shown += [preview(console, remove_orphans=True), str(to_plain(console.snapshot()))]
    sync(console, remove_orphans=True)
    found = {
        "Redis": list(everything_in_redis(console)),
        "audit": list(everything_audited(console)),
        "log": caplog.text.splitlines(),
        "shown": shown,
    }
    assert "tenant_config:acme" in "".join(found["Redis"])
    assert len(found["audit"]) > 6
    leaks = {where: [text for text in texts if PIECE in text] for where, texts in found.items()}
    assert leaks == {"Redis": [], "audit": [], "log": [], "shown": []}
    assert stored(console, "acme")["settings"]["smtp"]["host"] == "mx"
    assert "settings.password changed" in shown[1]


def test_no_secret_of_a_row_that_can_not_be_read_is_told_with_the_reason(
    console_for: Callable[..., Console], caplog: pytest.LogCaptureFixture
):
    console = console_for()
    bad = ('{"password": "%s"', '["%s"]', '{"password": "%s", "a": NaN}', '{"%s": "\\ud800"}', '"%s"')
    for at, text in enumerate(bad):
        add(console, f"t{at}", api_key=KEY)
        execute(console, f"UPDATE tenant_config SET settings = :text WHERE tenant_id = 't{at}'", text=text % KEY)
    shown = preview(console)
    assert sync(console).details["failed"] == len(bad)
    for text in (shown, caplog.text, *everything_in_redis(console), *everything_audited(console)):
        assert PIECE not in text


def test_what_the_hosts_own_code_says_when_it_breaks_is_not_repeated(
    console_for: Callable[..., Console],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    code = f"""
def rows():
    yield {{"tenant_id": "a", "settings": {{"tokens": ("{KEY}",)}}}}
    raise RuntimeError("can't log in with {KEY}")
"""
    (tmp_path / "leaking_host.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    console = console_for(tenant_source="leaking_host:rows")
    with pytest.raises(Unavailable, match=r"failed \(RuntimeError\)") as broken:
        sync(console)
    assert PIECE not in str(broken.value)
    for text in (caplog.text, *everything_in_redis(console), *everything_audited(console)):
        assert PIECE not in text


@pytest.mark.parametrize("make", [list, tuple], ids=["list", "tuple"])
def test_secrets_in_the_hosts_own_kinds_of_sequences_are_found(make: Callable[..., Any]):
    text = public_config({"tenant_id": "a", "settings": {"urls": make([f"https://u:{KEY}@host"])}}, b"key")
    assert PIECE not in text


def test_equal_secrets_look_equal_within_a_tenant_and_nowhere_else(console: Console):
    add(console, "a", "b", api_key=KEY, settings={"password": KEY})
    sync(console)
    first, second = stored(console, "a"), stored(console, "b")
    assert first["settings"]["password"] == first["api_key_fingerprint"]
    assert first["api_key_fingerprint"] != second["api_key_fingerprint"]


@pytest.mark.long
@pytest.mark.parametrize(
    "piece", ["://", ":", "://:", "eyJ-", "eyJ.", "?a", "?token", " ", "sk-", "a@", "AKIA", "&a-key"]
)
def test_no_text_takes_longer_to_look_through_than_its_length_allows(piece: str):
    text = "://" + piece * (200_000 // len(piece))
    began = time.perf_counter()
    public_config({"tenant_id": "a", "settings": {"a": text, "b": [text], text: 1}}, b"key")
    assert time.perf_counter() - began < 5, (
        "a text of this length takes some milliseconds, or, badly looked at, minutes"
    )
