"""A plain Panel page of queues and workers, as Panel's documentation would write it."""

import sys

import pandas as pd
import panel as pn
import redis

client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
pn.extension("tabulator")
QUEUES = ["celery", *(f"queue{number:02}" for number in range(1, 20))]


def queues():
    with client.pipeline(transaction=False) as pipe:
        for name in QUEUES:
            pipe.llen(name)
        return pd.DataFrame({"queue": QUEUES, "waiting": pipe.execute()})


def workers():
    rows = []
    for key in sorted(client.scan_iter("opsdash:worker:*")):
        if client.type(key) == "hash":
            found = client.hgetall(key)
            if "pool" in found:
                rows.append({"worker": key.rpartition(":")[2], "pool": found["pool"], "state": "online"})
    return pd.DataFrame(rows, columns=["worker", "pool", "state"])


tables = [pn.widgets.Tabulator(read(), show_index=False, disabled=True) for read in (queues, workers)]
button = pn.widgets.Button(name="Pause Processing", button_type="warning")


def refresh():
    for table, read in zip(tables, (queues, workers), strict=True):
        table.value = read()


pn.state.add_periodic_callback(refresh, 2000)
pn.Column("## Operations", button, *tables).servable()
