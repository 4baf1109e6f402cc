"""What the audit log calls a broker: enough to tell two apart, and nothing that is a secret."""

from __future__ import annotations

import pytest

from opsdash.config import broker_url
from opsdash.config.broker_name import LONGEST, identity

HOSTS = ";".join(f"sentinel://sentinel-{number}.redis.svc.cluster.local:26379" for number in range(12))


@pytest.mark.parametrize(
    ("address", "prefix", "called"),
    [
        ("redis://redis-a/0", "", "redis-a:6379/0"),
        ("redis://Redis-A:6380/2", "", "redis-a:6380/2"),
        ("rediss://redis-a:6380/2?ssl_cert_reqs=none", "", "redis-a:6380/2"),
        ("redis://maria:sesame@redis-a/0?client_name=sesame", "", "redis-a:6379/0"),
        ("redis://:sesame@redis-a/0", "shop:", "redis-a:6379/0?prefix=shop:"),
        ("redis://redis-a/0", 'a "b"\\{ü', "redis-a:6379/0?prefix=a%20%22b%22%5C%7B%C3%BC"),
        ("redis://localhost", "", "localhost:6379/0"),
        ("redis://127.0.0.1", "", "127.0.0.1:6379/0"),
        ("redis://[::1]:6379/1", "", "[::1]:6379/1"),
        ("unix:///run/redis.sock?db=3", "", "/run/redis.sock/3"),
        ("redis+socket://:sesame@/run/my redis.sock", "", "/run/my%20redis.sock/0"),
        ("sentinel://b:26379;sentinel://:sesame@a?master_name=my/master", "", "a:26379,b:26379/my%2Fmaster/0"),
    ],
)
def test_a_broker_is_called_by_server_database_and_prefix_alone(address: str, prefix: str, called: str) -> None:
    assert identity(broker_url.read(address), prefix) == called


def test_sentinels_in_another_order_are_the_same_broker() -> None:
    one, other = (f"sentinel://{first};sentinel://{then}?master_name=m" for first, then in (("a", "b"), ("b", "a")))
    assert identity(broker_url.read(one)) == identity(broker_url.read(other))


def test_a_name_has_a_bound_and_two_that_differ_beyond_it_stay_two() -> None:
    named = {identity(broker_url.read(f"{HOSTS}?master_name=m&db={db}")) for db in (0, 1)}
    assert len(named) == 2
    assert {len(name) for name in named} == {LONGEST}
