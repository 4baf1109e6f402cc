"""Beat's schedule for programs."""

from __future__ import annotations

import json
import time

import redis
from support.served import Client
from support.services import Valkey

from opsdash.keys import Keys

KEYS = Keys()


def test_a_program_reads_the_schedule_and_pauses_an_entry(api: Client, valkey: Valkey) -> None:
    assert api.get("/api/v1/schedules").json == {"schedules": []}
    last, due = "2026-11-28T04:00:00+00:00", "2026-11-29T04:00:00+00:00"
    told = {"task": "report", "schedule": "crontab 0 4 * * *", "last": last, "next": due, "enabled": True, "pid": 7}
    with redis.Redis.from_url(valkey.url) as client:
        client.hset(KEYS.schedules, "nightly", json.dumps({**told, "at": time.time()}))
        client.hset(KEYS.schedules, "old", json.dumps({**told, "at": time.time() - 60}))
    done = api.run(
        "pause_schedule", confirm="YES", params={"schedule": "nightly", "duration_s": 600, "reason": "noisy"}
    )
    assert done.status == 200
    assert done.json["undo"]["params"]["schedule"] == "nightly"
    nightly, old = api.get("/api/v1/schedules").json["schedules"]
    assert (nightly["name"], nightly["state"], nightly["applied"], nightly["missed"]) == ("nightly", "paused", False, 0)
    assert nightly["pause"]["reason"] == "noisy"
    assert (old["state"], old["schedule"], old["next_run_at"]) == (
        "silent",
        "crontab 0 4 * * *",
        "2026-11-29T04:00:00Z",
    )
    assert api.run("run_schedule_now", confirm="YES", params={"schedule": "old"}).status == 503
