"""A look into a queue by pages, and a search in it, on a real broker."""

from __future__ import annotations

import redis
from support.rows import fill, send

from opsdash.services.broker.client import Broker
from opsdash.services.queues.browse import MOST, browse, search


def test_a_page_goes_on_where_the_last_one_ended_and_shows_the_end_as_well(broker: Broker, client: redis.Redis) -> None:
    ids = fill(client, broker.lists("celery")[0], 30)
    client.lpush(
        broker.lists("celery")[3], *client.lrange(broker.lists("celery")[0], 0, -1)
    )  # a second priority step behind it
    look = browse(broker, "celery", 1, 20, last=5)
    assert [message.position for message in look.messages] == [*range(1, 21), *range(56, 61)]
    assert [message.id for message in look.messages][:20] == ids[:20]
    assert (look.waiting, look.upto) == (60, 20)
    look = browse(broker, "celery", 21, 20, last=5)
    assert [(message.position, message.priority) for message in look.messages][9:11] == [(30, 0), (31, 3)]
    last = browse(broker, "celery", 41, 20, last=5)
    assert [message.position for message in last.messages] == [*range(41, 61)]
    assert last.upto == last.waiting
    assert browse(broker, "nothing", 1, 20, last=5).messages == ()


def test_a_search_finds_by_id_name_and_argument_and_says_how_far_it_looked(broker: Broker, client: redis.Redis) -> None:
    first, *_ = fill(client, broker.lists("celery")[0], 10)
    wanted = send(client, broker.lists("celery")[0], "shop.refund", ["Order 4711"])
    fill(client, broker.lists("celery")[0], 10)
    for text in (wanted, "REFUND", "order 4711"):
        look = search(broker, "celery", text, 1, 20)
        assert [message.position for message in look.messages] == [11], text
        assert look.upto == 21
    assert search(broker, "celery", "shop.charge", 1, 5).upto == 5  # enough for a page: the next begins there
    assert [message.position for message in search(broker, "celery", "shop.charge", 6, 1).messages] == [6]
    assert search(broker, "celery", first, 2, 20).messages == ()


def test_a_search_never_tells_what_is_hidden(broker: Broker, client: redis.Redis) -> None:
    send(client, broker.lists("celery")[0], args=[{"password": "hunter2-and-more"}])
    assert search(broker, "celery", "hunter2", 1, 20).messages == ()
    send(client, broker.lists("celery")[0], args=["card 4711"])
    assert search(broker, "celery", "4711", 1, 20, redact="card").messages == ()


def test_a_search_ends_in_time_in_a_long_queue(broker: Broker, client: redis.Redis) -> None:
    send(client, broker.lists("celery")[0])
    key = broker.lists("celery")[0]
    client.lpush(key, *client.lrange(key, 0, 0) * (MOST + 10))
    look = search(broker, "celery", "nowhere", 1, 20)
    assert (look.upto, look.waiting) == (MOST, MOST + 11)
