from __future__ import annotations

import pytest

from opsdash.config.addresses import client_address, header, is_loopback, is_within, neighbourhood

PROXIES = ("127.0.0.0/8", "::1/128", "10.0.0.0/24")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "::1%lo", "::ffff:127.0.0.1", "localhost"]
)
def test_this_machine_is_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0", "10.0.0.8", "::", "::ffff:10.0.0.8", "evil.example", "127.0.0.1.evil", "0x7f.1"]
)
def test_another_machine_is_not(address: str) -> None:
    assert not is_loopback(address)


def test_only_an_address_belongs_to_a_network() -> None:
    assert is_within("10.0.0.7", PROXIES)
    assert is_within("::ffff:10.0.0.7", PROXIES)
    for address in ("10.0.1.7", "::2", "localhost", "", "10.0.0.7, 10.0.1.7"):
        assert not is_within(address, PROXIES)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.7", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.7", "203.0.113.9, 127.0.0.1", "203.0.113.9"),  # two proxies of ours
        ("10.0.0.7", "127.0.0.1, 203.0.113.9", "203.0.113.9"),  # the client wrote the first itself
        ("10.0.0.7", "8.8.8.8, 203.0.113.9, 10.0.0.8", "203.0.113.9"),
        ("10.0.0.7", "203.0.113.9:50123", "203.0.113.9"),
        ("10.0.0.7", "[2001:db8::9]:50123", "2001:db8::9"),
        ("10.0.0.7", "2001:db8::9", "2001:db8::9"),
        ("10.0.0.7", "<script>, 10.0.0.8", "10.0.0.8"),
        ("10.0.0.7", "", "10.0.0.7"),
        ("10.0.0.7", ",,,", "10.0.0.7"),
        ("203.0.113.50", "10.0.0.7", "203.0.113.50"),  # nobody we know: what it says about others counts for nothing
        ("203.0.113.50", "203.0.113.9", "203.0.113.50"),
    ],
)
def test_the_client_is_the_last_address_that_a_trusted_proxy_saw(peer: str, forwarded: str, client: str) -> None:
    assert client_address({"x-forwarded-for": forwarded}, peer, PROXIES) == client


def test_a_thousand_forged_hops_are_not_walked() -> None:
    hops = ", ".join(["203.0.113.9", *["10.0.0.8"] * 1_000])
    assert client_address({"X-Forwarded-For": hops}, "10.0.0.7", PROXIES) == "10.0.0.8"


def test_an_ipv6_client_is_its_site_for_a_limit() -> None:
    assert neighbourhood("2001:db8:1:2::a") == neighbourhood("2001:db8:1:2:ffff::b") == "2001:db8:1:2::/64"
    assert neighbourhood("203.0.113.9") == "203.0.113.9"


def test_two_headers_of_one_name_are_seen_as_two() -> None:
    assert header({"X-User": ["maria", "eve"]}, "x-user") == "maria,eve"
    assert header({}, "X-User") == ""
