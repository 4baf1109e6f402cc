"""One address, two clients: what either takes is the same place to both, and no error repeats any of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kombu import Connection
from kombu.transport.redis import Channel
from redis.connection import parse_url

from opsdash.config.broker_url import BrokerUrl, of_connection, read, with_timeouts
from opsdash.config.settings import Settings
from opsdash.errors import Invalid

PASSWORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
SIGNS = st.text(st.sampled_from("/?#@:[];&=%"), min_size=1, max_size=4)
PIECES = ("hunter2", "s3cr3t-tail")


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("redis://broker", "redis://broker:6379/0"),
        ("REDIS://broker/2", "redis://broker:6379/2"),
        ("redis://broker//2", "redis://broker:6379/2"),
        ("redis://broker/?db=2", "redis://broker:6379/2"),
        ("redis://broker/1?db=2", "redis://broker:6379/2"),
        ("redis://broker?virtual_host=/2", "redis://broker:6379/2"),
        ("redis://[::1]:7/1", "redis://[::1]:7/1"),
        ("valkeys://broker:1", "rediss://broker:1/0"),
        ("redis://broker?ssl_cert_reqs=CERT_NONE", "rediss://broker:6379/0?ssl_cert_reqs=none"),
        ("redis+socket:///run/r.sock?virtual_host=3", "unix:///run/r.sock?db=3"),
        ("redis+socket://ann:p%2Fw@/run/r.sock", "unix://ann:p%2Fw@/run/r.sock"),
        ("redis://broker/0?socket_timeout=30&retry_on_timeout=true&max_connections=1", "redis://broker:6379/0"),
        ("redis://broker;", "redis://broker:6379/0"),
        ("sentinel://a:1;sentinel://:pw@b/?master_name=m", "sentinel://:pw@a:1;sentinel://b?master_name=m"),
    ],
)
def test_two_spellings_of_one_address_are_one(address: str, same: str):
    assert read(address) == read(same)
    assert read(read(address).url) == read(address)


def by_redis(url: BrokerUrl) -> tuple[Any, ...]:
    parsed = parse_url(url.url)
    where = parsed.get("path") or (parsed["host"], parsed["port"])
    return where, parsed.get("db", 0), parsed.get("username"), parsed.get("password")


def by_kombu(url: BrokerUrl) -> tuple[Any, ...]:
    connection = Connection(url.kombu_url, ssl=url.kombu_ssl, transport_options=url.transport_options)
    reader: Any = Channel.__new__(Channel)
    reader.connection = type("Transport", (), {"client": connection, "default_port": 6379})()
    parameters = reader._connparams()
    where = parameters.get("path") or (parameters["host"], parameters["port"])
    return where, parameters["db"], parameters["username"], parameters["password"]


@given(PASSWORDS, st.none() | PASSWORDS, st.sampled_from(["redis://{}@h:7/3", "unix://{}@/run/a%3Bb.sock?db=3"]))
def test_any_password_arrives_at_both_clients_as_it_was_meant(password: str, name: str | None, form: str):
    url = read(form.format(f"{quote(name or '', safe='')}:{quote(password, safe='')}"))
    where = ("h", 7) if url.hosts else "/run/a;b.sock"
    assert by_redis(url) == by_kombu(url) == (where, 3, name, password)
    assert (url.username, url.password) == (name, password)
    assert read(url.url) == url
    assert url.label in {"redis://h:7/3", "unix:///run/a;b.sock?db=3"}
    assert "password" not in repr(url)


FORMS = (
    "redis://:{}@127.0.0.1:6379/0",
    "redis://ann:{}@broker",
    "rediss://:{}@broker/0?ssl_cert_reqs=none",
    "redis://:{}",
    "redis://broker:{}/0",
    "redis://broker/{}",
    "redis://broker/0?socket_timeout={}",
    "redis://broker/0?{}",
    "unix://:{}@/run/redis.sock",
    "sentinel://:{}@broker:1/0?master_name=m",
    "sentinel://broker:1/0?master_name=m&sentinel_password={}",
    "redis://a:1;redis://:{}@b:1",
    "{}://broker",
    "{}",
)


@given(st.sampled_from(FORMS), SIGNS, st.sampled_from(["", "1"]))
def test_a_password_that_is_not_encoded_is_the_password_or_one_line_without_any_part_of_it(
    form: str, signs: str, more: str
):
    assume("@" in form or "@" not in signs)  # else what follows it is the host, whoever looks
    password = PIECES[0] + signs + PIECES[1] + more
    try:
        settings = Settings.from_env({"OPSDASH_REDIS_URL": form.format(password)})
    except Invalid as refusal:
        message = str(refusal)
        assert message.startswith("OPSDASH_REDIS_URL: ")
    else:
        message = f"{settings} {settings.redis_label}"
    assert not any(piece in message for piece in PIECES)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("redis://a;redis://b", "names 2 brokers, of which Celery uses the next when one fails; opsdash reads one"),
        ("redis://a,redis://b", "names 2 brokers"),
        ("redis://a/0;sentinel://b", "names 2 brokers"),
        ("amqp://a", "got amqp:"),
        ("unix://run/redis.sock", "with three slashes"),
        ("unix:///run/redis.sock?ssl_cert_reqs=none", "a socket has no TLS"),
        ("redis://a/0?colour=red", "an option after ? is not known"),
        (
            "redis://a/0?ssl_cert_reqs=maybe",
            "the option ssl_cert_reqs after ? can't be read; expected none, optional or",
        ),
        ("redis://a/0?socket_keepalive=maybe", "expected true or false"),
        ("redis://a/0?health_check_interval=soon", "expected a whole number"),
        ("redis://a:0/0", "its port is none"),
        ("redis://a:99999/0", "its port is none"),
        ("redis://a b/0", "a sign that no host has"),
        ("redis://a/1/2", "with a number as db"),
        ("redis://a/" + "9" * 5_000, "with a number as db"),
        ("redis://a/0?" + "&".join(["db=1"] * 50), "what follows ? is no name=value"),
        ("redis://a\x1b[2J/0", "a control character"),
        ("sentinel://a:1/0", "the name of the master is missing"),
        ("redis://a/0?sentinel_password=hunter2", "without options of sentinels, or sentinel://"),
        ("sentinel://a:1/0?master_name=m&sentinel_ssl=maybe", "expected true or false"),
        ("sentinel://:1/0?master_name=m", "a sentinel has no host"),
        ("sentinel://a:1;sentinel://b:1/3?master_name=m", "Celery takes the database of the first sentinel"),
    ],
)
def test_what_is_no_address_of_one_broker_is_one_line_that_names_the_way(address: str, says: str):
    with pytest.raises(Invalid) as raised:
        Settings.from_env({"OPSDASH_REDIS_URL": address})
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:pw@broker:7/3",
        "redis://",
        "rediss://broker/1",
        "redis+socket://:pw@/run/r.sock?virtual_host=4",
        "sentinel://a:1;sentinel://:pw@b/0",
    ],
)
def test_an_apps_address_is_read_as_the_consoles_own(url: str):
    options = {"master_name": "m"}
    theirs = of_connection(Connection(url, transport_options=options))
    ours = read(url + ("?master_name=m" if url.startswith("sentinel") else ""))
    assert theirs is not None
    place = [(one.hosts or one.path, one.db, one.tls, one.master_name) for one in (theirs, ours)]
    assert place[0][0] == (("127.0.0.1", 6379),) if url == "redis://" else place[0] == place[1]


def test_how_sentinels_are_spoken_to_is_said_apart_from_their_master():
    url = read("sentinel://:pw@a:1;sentinel://b?master_name=m&sentinel_username=ann&sentinel_password=p%26w")
    assert url.sentinel_kwargs == {"username": "ann", "password": "p&w"}
    assert (url.password, url.tls) == ("pw", False)
    assert url.transport_options == {"master_name": "m", "sentinel_kwargs": url.sentinel_kwargs}
    assert read(url.url) == url
    assert not any(secret in f"{url} {url.label}" for secret in ("pw", "p&w", "ann"))
    ours = "ssl_cert_reqs=required&ssl_ca_certs=/ca.pem"
    assert read(f"sentinel://a?master_name=m&{ours}").sentinel_kwargs == {}, "TLS of the master alone"
    both = read(f"sentinel://a?master_name=m&sentinel_ssl=true&{ours}")
    assert both.sentinel_kwargs == {"ssl": True, "ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}
    assert read(both.url) == both
    assert "sentinel_kwargs" not in read("sentinel://a?master_name=m").transport_options


def test_an_apps_connection_gives_up_waiting_for_sentinels_too():
    plain = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}
    own = {**plain, "retry_on_timeout": False}
    assert with_timeouts(None, 2.0) == with_timeouts({"master_name": "m"}, 2.0) == own
    assert with_timeouts({"sentinel_kwargs": None}, 2.0) == with_timeouts("x", 2.0) == own
    options = {"sentinel_kwargs": {"password": "pw", "socket_timeout": 0.5}}
    assert with_timeouts(options, 2.0)["sentinel_kwargs"] == {**plain, "password": "pw", "socket_timeout": 0.5}


def test_options_of_the_connection_go_to_both_clients_and_what_opsdash_decides_to_none():
    url = read("redis://a/0?health_check_interval=25&socket_keepalive=true&socket_timeout=60&protocol=3")
    assert {"health_check_interval": 25, "socket_keepalive": True} == url.options == url.transport_options
    assert url.redis_options["health_check_interval"] == 25
    assert "socket_timeout" not in url.redis_options


def test_an_apps_own_tls_counts_where_the_address_says_nothing_of_it():
    options = {"ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem", "colour": "red"}
    found = read("redis://a").with_tls(options)
    assert (found.tls, dict(found.tls_options)) == (True, {"ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem"})
    assert read("redis://a?ssl_cert_reqs=required").with_tls(options).tls_options == {"ssl_cert_reqs": "required"}
    assert read("unix:///run/r.sock").with_tls(options) == read("unix:///run/r.sock")
    for nothing in (None, True, {}, "yes"):
        assert read("redis://a").with_tls(nothing) == read("redis://a")


def test_without_options_of_tls_both_clients_want_a_certificate_that_is_trusted():
    assert read("rediss://a").kombu_ssl == {"ssl_cert_reqs": "required"}
    assert read("redis://a").kombu_ssl is False
