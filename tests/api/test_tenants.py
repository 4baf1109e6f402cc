"""The tasks of each tenant for programs."""

from __future__ import annotations

import redis
from support.messages import message
from support.served import Client
from support.services import Valkey


def test_a_program_reads_the_tasks_of_each_tenant_and_clears_one(api: Client, valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.lpush("celery", *[message(tenant_id="acme")] * 3, message(tenant_id="<b>"), message())
    read = api.get("/api/v1/tenants").json
    assert [(one["tenant"], one["waiting"], one["hold"]) for one in read["tenants"]] == [
        ("acme", 3, None),
        ("<b>", 1, None),
    ]
    assert (read["others"]["waiting"], read["waiting"], read["left_out"]) == (1, {"tasks": 5, "looked_at": 5}, 0)
    assert api.get("/api/v1/tenants").json["read_at"] == read["read_at"], "a read is shared for some seconds"
    done = api.run("clear_tenant", confirm="YES", params={"tenant": "acme"})
    assert (done.status, done.json["affected"]) == (200, 3)
