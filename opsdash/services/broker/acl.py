"""What opsdash and a Celery worker with its plug-in need in Redis: the one list that doctor, docs and tests go by.

Standard library only. A right is a command, a pattern of keys or a channel, as ``ACL SETUSER`` grants it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from opsdash.keys import Keys
from opsdash.values import frozen

SAMPLE = "opsdash:worker:doctor"
"""The key in the tried commands: one that console and workers may have."""

# Why → commands, as they are tried: K is a key that does not exist. They are queued in a transaction that is never
# executed; most would change nothing if they were.
_CONSOLE = {
    "is Redis there, and which": "PING; INFO server; TIME",
    "several reads as one": "MULTI; EXEC",
    "every change and most reads are scripts": "EVAL return 0",
    "flags, leases, marks": "GET K; SET K x XX; DEL K; EXISTS K; EXPIRE K 1; PERSIST K; PEXPIRE K 1; PTTL K; TYPE K;"
    " INCR K; STRLEN K; GETRANGE K 0 0",
    "what explains a pause, workers' reports": "HGET K x; HSET K x x; HSETNX K x x; HDEL K x; HGETALL K; HMGET K x;"
    " HKEYS K; HLEN K; HSCAN K 0; HSTRLEN K x; HEXISTS K x; HINCRBY K x 0",
    "queues, and clearing them": "LLEN K; LINDEX K 0; LRANGE K 0 0; LPOS K x; LMOVE K K LEFT LEFT; LPOP K; LPUSH K x;"
    " RPUSH K x; RENAME K K; UNLINK K",
    "one task out of its queue": "LREM K 0 x; RPOP K",
    "a workflow out of its queues; removed tasks back": "LSET K 0 x; LINSERT K BEFORE x x",
    "workers, trash, approvals": "ZADD K XX 0 x; ZREM K x; ZRANGE K 0 0; ZRANGEBYSCORE K 0 0; ZCOUNT K 0 0;"
    " ZSCORE K x; ZREMRANGEBYSCORE K 1 0",
    "the charts' history, the audit outbox": "XADD K NOMKSTREAM * x x; XDEL K 0-1; XLEN K; XRANGE K 0 0;"
    " XREVRANGE K 0 0",
    "tenants' configurations": "MGET K; MSET K x; SCAN 0 COUNT 1",
    "queues that are bound": "SSCAN K 0",
    "nudges, and Celery's remote control": "PUBLISH C x",
    "who listens, and who fetches": "PUBSUB CHANNELS C; PUBSUB NUMSUB C; PUBSUB NUMPAT; CLIENT LIST; CLIENT SETNAME x",
    "answers of Celery's remote control": "SMEMBERS K; SADD K x; SREM K x; BRPOP K 1; WATCH K; UNWATCH;"
    " ZREVRANGEBYSCORE K 0 0; EVALSHA 0 0; SCRIPT LOAD x; SCRIPT EXISTS x",
}
_WORKER = {
    "Celery's connection": "PING; MULTI; EXEC; WATCH K; UNWATCH",
    "fetching": "BRPOP K 1; RPOP K; LLEN K; EXISTS K",
    "sending, giving back": "LPUSH K x; RPUSH K x; LRANGE K 0 0; DEL K; PEXPIRE K 1",
    "what it holds": "HSET K x x; HGET K x; HDEL K x; HEXISTS K x; HLEN K; ZADD K XX 0 x; ZREM K x; ZSCORE K x;"
    " ZREVRANGEBYSCORE K 0 0",
    "bindings": "SADD K x; SREM K x; SMEMBERS K; ZRANGEBYSCORE K 0 0",
    "the lock of a restore": "SET K x XX; GET K; EVALSHA 0 0; SCRIPT LOAD x; SCRIPT EXISTS x",
    "remote control, events, nudges": "PUBLISH C x; SUBSCRIBE C; UNSUBSCRIBE C; PSUBSCRIBE C; PUNSUBSCRIBE C",
    "the plug-in's steps": "EVAL return 0; TIME; MGET K; GETRANGE K 0 0; CLIENT ID",
    "holding tasks, and their way back": "LINDEX K 0; LPOP K; LMOVE K K LEFT LEFT; UNLINK K; HSETNX K x x;"
    " HINCRBY K x 0; HSCAN K 0",
    "the plug-in's reports": "EXPIRE K 1; ZRANGE K 0 0; ZREMRANGEBYSCORE K 1 0; TYPE K; RENAME K K; HMGET K x;"
    " HGETALL K; HKEYS K",
    "suspended expiries": "PTTL K; PERSIST K",
}
CONTAINERS = frozenset({"CLIENT", "PUBSUB", "SCRIPT"})
"""Commands whose subcommands are granted one by one."""
RESULTS = ("+setex", "~celery-task-meta-*", "&celery-task-meta-*")
"""What a worker needs beside its own where Celery keeps results in the same Redis; opsdash does not use them."""
UNTRIED = frozenset({"MULTI", "EXEC", "WATCH"})
"""Commands that can't be queued in a transaction."""


@frozen(kw_only=True)
class Right:
    """One right.

    Attributes:
        grant: As ``ACL SETUSER`` takes it: ``+eval``, ``~opsdash:*``, ``&opsdash:nudge``.
        why: What is done by it, in a few words.
        tried: A command that Redis refuses without it, as words.
    """

    grant: str
    why: str
    tried: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``command``, ``keys`` or ``channel``."""
        return {"+": "command", "~": "keys", "&": "channel"}[self.grant[0]]

    @property
    def text(self) -> str:
        """For people: ``PUBLISH (nudges)``, ``keys opsdash:*``, ``PUBLISH to opsdash:nudge``."""
        if self.kind == "command":
            return f"{self.grant[1:].replace('|', ' ').upper()} ({self.why})"
        does = "keys" if self.kind == "keys" else f"{self.tried[0]} to" if self.tried[0] == "PUBLISH" else self.tried[0]
        return f"{does} {quoted(self.grant[1:])} ({self.why})"


@frozen(kw_only=True)
class Place:
    """What a deployment's keys and channels are called.

    Attributes:
        separator: Between a queue's name and the priority step of its list.
        unacked: kombu's keys for what workers hold, with the prefix: the hash, its index, the lock of a restore.
        db: kombu's fanout channels carry the database's number.
        control: Celery's ``control_exchange``. ``events``: its ``event_exchange``.
        broadcasts: The app's own fanout channels, without their prefix: ``news/celery``.
    """

    prefix: str = ""
    queues: tuple[str, ...] = ("celery",)
    separator: str = "\x06\x16"
    unacked: tuple[str, ...] = ("unacked", "unacked_index", "unacked_mutex")
    db: int = 0
    control: str = "celery"
    events: str = "celeryev"
    broadcasts: tuple[str, ...] = ()


def console(place: Place) -> tuple[Right, ...]:
    """Everything the console does, the doctor included."""
    keys = Keys(place.prefix)
    return (
        *_commands(_CONSOLE, keys),
        *_selecting(place),
        _keys(f"{_glob(keys.pause())}*", keys.pause(), "the pause flags"),
        _keys(f"{_glob(place.prefix)}opsdash:*", keys.pause_info, "opsdash's own"),
        _keys(f"{_glob(keys.tenant_config(''))}*", keys.tenant_config("x"), "tenants' configurations"),
        *_queues(place),
        *(_keys(_glob(key), key, "what workers hold") for key in place.unacked),
        _bindings(place),
        _mailboxes(place, ".reply", "answers of remote control"),
        _channel(keys.nudge, "PUBLISH", "the nudge to workers"),
        _channel(f"{place.prefix}/{place.db}.{place.control}.pidbox", "PUBLISH", "Celery's remote control"),
    )


def worker(place: Place) -> tuple[Right, ...]:
    """Everything that Celery's worker does, and the plug-in in it."""
    keys = Keys(place.prefix)
    own = _glob(place.prefix) + "opsdash:"
    fanout = f"{place.prefix}/{place.db}."
    events, mailbox = fanout + place.events, f"{fanout}{place.control}.pidbox"
    return (
        *_commands(_WORKER, keys),
        *_selecting(place),
        *_queues(place),
        *(_keys(_glob(key), key, "what it holds") for key in place.unacked),
        _bindings(place),
        _mailboxes(place, "", "its mailbox, and answers"),
        _keys(f"{_glob(place.prefix + place.events)}.*", f"{place.prefix}{place.events}.x", "events"),
        _keys(f"{_glob(keys.pause())}*", keys.pause(), "the pause flags"),
        _keys(f"{own}pause*", keys.pause_epoch, "the pause counter"),
        _keys(f"{own}worker*", keys.workers, "its report"),
        _keys(f"{own}expires*", f"{place.prefix}opsdash:expires", "suspended expiries"),
        _keys(f"{own}busy:*", keys.busy("x"), "queues that the console works on"),
        _keys(f"{own}hold*", keys.hold, "holds"),
        _keys(f"{own}held*", keys.held_lists, "held tasks"),
        _keys(f"{own}restores", keys.restores, "releasing held tasks"),
        _keys(f"{own}failed*", keys.failed, "failed tasks"),
        _keys(f"{own}redelivered:*", keys.redelivered("x"), "tasks that are redelivered"),
        _channel(keys.nudge, "SUBSCRIBE", "the nudge"),
        _channel(mailbox, "PSUBSCRIBE", "Celery's remote control"),
        _channel(f"{events}/worker.*", "PSUBSCRIBE", "gossip between workers"),
        _channel(f"{events}/*", "PUBLISH", "events", f"{events}/task.sent"),
        *([_keys(f"{_glob(place.prefix)}bcast.*", f"{place.prefix}bcast.x", "broadcasts")] if place.broadcasts else ()),
        *(_channel(fanout + name, "PSUBSCRIBE", "broadcasts") for name in place.broadcasts),
    )


def setuser(name: str, rights: Iterable[Right]) -> str:
    """The line for ``redis-cli`` that makes a user with just these rights."""
    return f"ACL SETUSER {name} reset on >PASSWORD {granting(rights)}"


def granting(rights: Iterable[Right]) -> str:
    """What comes after the user's name to add these rights; each once."""
    return " ".join(dict.fromkeys(quoted(right.grant) for right in rights))


def quoted(text: str) -> str:
    """As ``redis-cli`` reads it: in quotes where blanks or control characters are in it."""
    if re.fullmatch(r"[!-~]+", text) and not set(text) & set("\"'\\"):
        return text
    inner = "".join(char if " " <= char <= "~" and char not in '"\\' else _escaped(char) for char in text)
    return f'"{inner}"'


def _escaped(char: str) -> str:
    return f"\\{char}" if char in '"\\' else "".join(f"\\x{byte:02x}" for byte in char.encode())


def _commands(table: Mapping[str, str], keys: Keys) -> Iterable[Right]:
    filled = {"K": keys.prefix + SAMPLE, "C": keys.nudge}
    for why, commands in table.items():
        for command in commands.split("; "):
            words = command.split()
            name = "|".join(words[: 2 if words[0] in CONTAINERS else 1]).lower()
            tried = [filled.get(word, word) for word in words]
            if words[0] == "EVAL":
                tried = ["EVAL", " ".join(words[1:]), "0"]
            yield Right(grant=f"+{name}", why=why, tried=tuple(tried))


def _selecting(place: Place) -> Iterable[Right]:
    return [Right(grant="+select", why=f"database {place.db}", tried=("SELECT", str(place.db)))] if place.db else []


def _queues(place: Place) -> Iterable[Right]:
    for queue in place.queues:
        key = place.prefix + queue
        yield _keys(_glob(key), key, f"queue {queue}")
        yield _keys(f"{_glob(key + place.separator)}*", f"{key}{place.separator}9", f"queue {queue}, its priorities")


def _bindings(place: Place) -> Right:
    bindings = f"{place.prefix}_kombu.binding"
    return _keys(f"{_glob(bindings)}*", f"{bindings}.x", "kombu's bindings")


def _mailboxes(place: Place, which: str, why: str) -> Right:
    name = f"{which}.{place.control}.pidbox"
    return _keys(f"{_glob(place.prefix)}*{_glob(name)}*", f"{place.prefix}x{name}", why)


def _keys(pattern: str, sample: str, why: str) -> Right:
    return Right(grant=f"~{pattern}", why=why, tried=("RENAME", sample, sample))  # read and write


def _channel(pattern: str, command: str, why: str, sample: str = "") -> Right:
    # The pattern of a PSUBSCRIBE must be granted letter by letter.
    return Right(grant=f"&{pattern}", why=why, tried=(command, sample or pattern, *(["x"] * (command == "PUBLISH"))))


def _glob(text: str) -> str:
    """A pattern that means this text; Redis takes no blanks in one, so there any character will do."""
    return re.sub(r"[\s\0]", "?", re.sub(r"([\\*?\[\]])", r"\\\1", text))
