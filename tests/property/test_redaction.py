"""One classifier: a secret that is planted anywhere, in any spelling, never comes out; what is none stays."""

from __future__ import annotations

import json
import logging
import time
from typing import Any
from urllib.parse import quote

import pytest
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsdash.redaction import HIDDEN, LogFilter, cleaned, is_secret_name, is_secret_text, masked
from opsdash.services.audit.details import stored as kept_details
from opsdash.services.queues.peek import describe
from opsdash.services.tenants.redaction import changes, public_config

SECRET = "hunter2-planted"
WORDS = [
    ("password",), ("passwords",), ("passwd", "old"), ("pass", "phrase"), ("passcode",), ("db", "pass"), ("pwd",),
    ("api", "key"), ("private", "key"), ("hmac", "key"), ("ssh", "key"), ("signing", "key"), ("access", "key", "id"),
    ("client", "secret"), ("auth",), ("auth", "token"), ("x", "auth", "token"), ("authorization",), ("bearer",),
    ("pin",), ("user", "pin"), ("otp",), ("salt",), ("credentials",), ("set", "cookie"), ("session", "id"),
    ("refresh", "token", "2"), ("new", "password", "confirm"), ("dsn",), ("webhook", "url"), ("jwt",), ("smtp", "pw"),
]  # fmt: skip
SPELLINGS = {
    "snake": "_".join,
    "kebab": "-".join,
    "dots": ".".join,
    "blanks": " ".join,
    "Title": lambda words: " ".join(word.title() for word in words),
    "camel": lambda words: words[0] + "".join(word.title() for word in words[1:]),
    "Pascal": lambda words: "".join(word.title() for word in words),
    "CONSTANT": lambda words: "_".join(words).upper(),
    "fullwidth": lambda words: "_".join(words).translate({at: at + 0xFEE0 for at in range(0x21, 0x7F)}),
    "zero width": lambda words: "\u200b".join("_".join(words)),
}
NAMES = st.builds(lambda words, how: SPELLINGS[how](words), st.sampled_from(WORDS), st.sampled_from(sorted(SPELLINGS)))
TEXT = st.text(max_size=12)
OTHER = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def planted(name: str) -> st.SearchStrategy[Any]:
    """Ways in which a secret is told apart by its name, and some in which it is one by itself."""
    return st.sampled_from([
        {name: SECRET},
        {name: [SECRET]},
        {name: {"a": {"b": SECRET}}},
        [name, SECRET],
        {"name": name, "value": SECRET},
        {"Key": name, "Value": SECRET, "Enabled": True},
        {"header": name, "content": [SECRET]},
        {"value": SECRET, "field": name},
        [[name, SECRET], ["Accept", "text/html"]],
        {"headers": [[name, SECRET]]},
        ["--" + name.replace(" ", "-"), SECRET, "-v"],
        f"{name}={SECRET}",
        f"please use {name}: {SECRET} from now on",
        f"x=1;{name}='{SECRET}'",
        json.dumps({name: SECRET}),
        json.dumps({"a": json.dumps({"name": name, "value": SECRET})}),
        json.dumps([[name, SECRET]]),
        f"{{'{name}': '{SECRET}'}}",
        f"<{name}>{SECRET}</{name}>",
        {f"{name}: {SECRET}": 1},
        quote(f"{name}={SECRET}"),
    ])  # fmt: skip


BY_ITSELF = st.sampled_from([
    f"redis://user:{SECRET}@host/0",
    f"redis://:{SECRET}/2@host",
    f"amqp://{SECRET}-0123456789@mq//",
    f"jdbc:oracle:thin:app/{SECRET}@db",
    f"app:{SECRET}@tcp(db:3306)/app",
    f"Server=db;User Id=sa;Password={SECRET};",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}==;",
    f"host=db user=app password={SECRET}",
    f"https://h/x?sig={SECRET}",
    f"Bearer {SECRET}",
    f"Basic {SECRET}",
    f"curl -H 'Authorization: Token {SECRET}'",
    f"eyJhbGciOiJIUzI1NiJ9.{SECRET}.x",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
    f"sk_live_{SECRET}",
    f"ghp_{SECRET}0123456789",
    f"https://hooks.slack.com/services/T0/B0/{SECRET}",
    f"$2b$12${SECRET}",
    {f"https://u:{SECRET}@h": 1},
])  # fmt: skip
PLANTED = NAMES.flatmap(planted) | BY_ITSELF


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(OTHER, max_size=2).flatmap(
        lambda beside: st.builds(lambda value, at: [*beside[:at], value, *beside[at:], 1, 2], inner, st.integers(0, 2))
    ) | st.builds(
        lambda beside, name, value: {**beside, name: value}, st.dictionaries(TEXT, OTHER, max_size=2), TEXT, inner
    )


ANYWHERE = PLANTED | nested(PLANTED) | nested(nested(PLANTED)) | nested(nested(PLANTED).map(json.dumps))


@given(NAMES)
def test_every_common_spelling_of_a_secrets_name_is_one(name: str) -> None:
    assert is_secret_name(name)


INNOCENT = (
    "author compass keyboard monkey plan primary_key sort_key host spinner description authority opinion email pinned"
    " url customer bypass passenger designer tenant_id timezone note key keys theme signature pingback"
)


@pytest.mark.parametrize("name", INNOCENT.split())
def test_an_innocent_name_is_none(name: str) -> None:
    assert not is_secret_name(name)
    assert cleaned({name: "x"}, lambda _: HIDDEN) == {name: "x"}


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com:8080/path?x=1&y=2", "12:30:01", "de_DE", "2026-01-01T00:00:00+00:00", "celery@host:1",
        "shop.charge", "maria@example.com", "Reset your password", "11111111-1111-1111-1111-111111111111", "key: value",
        "Cleared 3 tasks from emails.", "opsdash approve 0123456789abcdef0123456789abcdef", "The token bucket is full",
        "https://user@example.com/", "redis://host:6379/0", "{\"plan\": \"gold\"}", "100 % sure: yes", "Basically fine",
    ],
)  # fmt: skip
def test_an_innocent_text_is_none(text: str) -> None:
    assert not is_secret_text(text)
    assert masked(text) == text


def test_a_number_beside_a_secrets_name_is_hidden_unless_it_measures() -> None:
    given = {
        "pin": 1234,
        "max_tokens": 1000,
        "session_timeout_s": 30.5,
        "use_password": True,
        "token": None,
        "secret": "",
    }
    shown = {**given, "pin": HIDDEN}
    assert cleaned(given, lambda _: HIDDEN) == shown


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(ANYWHERE)
def test_a_planted_secret_reaches_no_tenants_key(value: Any) -> None:
    text = public_config(
        {"tenant_id": "t", "name": value if isinstance(value, str) else "n", "settings": {"a": value}}, b"k"
    )
    assert SECRET not in text
    old = json.dumps({"settings": {"a": value}})
    assert SECRET not in "".join(changes(old, text))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(ANYWHERE, st.booleans())
def test_a_planted_secret_is_not_seen_in_a_queue(value: Any, keyword: bool) -> None:
    body = json.dumps([[], {"given": value}, {}] if keyword else [[1, value, 2], {}, {}])
    message = {"headers": {"task": "t", "id": "1"}, "content-type": "application/json", "body": body}
    assert SECRET not in repr(describe(json.dumps(message).encode(), position=1, priority=0))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(ANYWHERE)
def test_a_planted_secret_reaches_neither_trail_nor_log(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    stored = kept_details({"params": {"given": value}, "message": text, "figures": [text, {text: text}]})
    assert SECRET not in repr(stored)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "lost: %s", (text,), None)
    LogFilter().filter(record)
    assert SECRET not in record.getMessage()


@given(ANYWHERE | OTHER)
def test_what_is_hidden_once_stays_as_it_is(value: Any) -> None:
    once = cleaned(value, lambda _: HIDDEN)
    assert cleaned(once, lambda _: HIDDEN) == once
    text = json.dumps(value)
    assert masked(masked(text)) == masked(text)


def test_a_traceback_is_logged_without_its_secrets() -> None:
    try:
        int(f"redis://u:{SECRET}@h")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it broke", (), (type(error), error, error.__traceback__))
    LogFilter().filter(record)
    output = logging.Formatter().format(record)
    assert SECRET not in output
    assert "test_redaction.py" in output


RULES = (
    "AWS Access Key", "Azure Storage Account access key", "GitHub Token", "GitLab Token", "Slack Token",
    "Stripe Access Key", "SendGrid API Key", "Twilio API Key", "NPM tokens", "PyPI Token", "OpenAI Token",
    "Discord Bot Token", "Telegram Bot Token", "Square OAuth Secret", "Mailchimp Access Key",
    "Artifactory Credentials", "Private Key", "Basic Auth Credentials",
)  # fmt: skip


@pytest.mark.long
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@pytest.mark.parametrize("rule", RULES)
@given(data=st.data())
def test_what_detect_secrets_calls_a_secret_is_one_here(rule: str, data: st.DataObject) -> None:
    plugin: Any = get_mapping_from_secret_type_to_class()[rule]()
    patterns = list(plugin.denylist)
    patterns = [one for one in patterns if "aws" not in one.pattern]  # of those, the name that stands there tells
    for pattern in patterns:
        strategy = st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))
        sample = data.draw(strategy, label=pattern.pattern)
        if len(sample) < 16:  # what the rule takes, and no provider gives
            continue
        assert is_secret_text(sample)
        assert is_secret_text(f"use {sample} here")


@pytest.mark.parametrize(
    "piece",
    ["://", "://:", "a@", ":", "a:", "a=", "key=", "token", "token ", "passwd.", "%41", "-- ", "--a ", "sk-", "eyJ",
     "?a", "[", '{"a":', "é=", "'", "-----", "x-amz-", "a.b@", "1234567890:", "thin:"],
)  # fmt: skip
def test_no_text_takes_longer_to_look_through_than_its_length_allows(piece: str) -> None:
    text = "://" + piece * (100_000 // len(piece))
    began = time.perf_counter()
    is_secret_text(text)
    is_secret_text(text + "@")
    assert time.perf_counter() - began < 5, (
        "a text of this length takes some milliseconds, or, badly looked at, minutes"
    )
