"""What Redis lets the console and the app's workers do, beside what they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

import redis

from opsdash.errors import OpsdashError
from opsdash.services.broker import acl
from opsdash.services.broker.acl import Place, Right
from opsdash.services.doctor import address
from opsdash.services.doctor.finding import Examined, Finding, Findings, error, ok, warning
from opsdash.text import count

KEEP = "then ACL SAVE, or write it into the file that the server reads"


def console(patient: Examined) -> Findings:
    """Rights: may the console send what it has to."""
    broker = patient.console.broker
    with broker.reading():
        yield from _findings("rights", "opsdash", broker.client, acl.console(place(patient)))


def workers(patient: Examined) -> Findings:
    """Worker rights: may the app's user send what a worker and its plug-in have to."""
    from kombu.exceptions import KombuError

    if patient.app is None or not _is_same_server(patient):
        return
    try:
        with patient.app_client() as client:
            yield from _findings("worker rights", "a worker", client, acl.worker(place(patient)))
    except redis.exceptions.NoPermissionError:  # kombu begins with a PING
        ping = [right for right in acl.worker(place(patient)) if right.grant == "+ping"]
        yield _denied("worker rights", "a worker", str(patient.app.connection_for_write().userid or "default"), ping)
    except redis.AuthenticationError:
        text = "Redis refuses the user or password in the app's broker_url."
        yield error("worker rights", text, "Compare it with ACL LIST on the server.")
    except (redis.RedisError, KombuError, OSError) as failure:
        text = f"The app's broker can't be reached from here as its user: {type(failure).__name__}."
        yield warning("worker rights", text, "Run opsdash doctor where a worker runs.")


def _is_same_server(patient: Examined) -> bool:
    """The app's broker is the server and database that opsdash is on."""
    connection = patient.app.connection_for_write()  # opens none
    if connection.transport_cls not in address.TRANSPORTS:
        return False
    of_the_app, own = address.of_app(connection), address.of_console(patient)
    return of_the_app.db == own.db and address.same_server(patient, of_the_app, own)


def place(patient: Examined) -> Place:
    """The names that the deployment's keys and channels have."""
    broker, app = patient.console.broker, patient.app
    try:
        queues = patient.console.queue_names()
    except OpsdashError:  # a right to what tells them may be what is missing
        queues = broker.queues
    db = int(broker.client.connection_pool.connection_kwargs.get("db") or 0)
    if app is None:
        named = (broker.unacked, f"{broker.unacked}_index", f"{broker.unacked}_mutex")
        return Place(prefix=broker.keys.prefix, queues=queues, separator=broker.separator, unacked=named, db=db)
    options = dict(app.conf.broker_transport_options or {})
    others = [options.get(f"unacked_{part}_key", f"unacked_{part}") for part in ("index", "mutex")]
    return Place(
        prefix=broker.keys.prefix,
        queues=queues,
        separator=broker.separator,
        unacked=(broker.unacked, *(broker.keys.prefix + str(name) for name in others)),
        db=db,
        control=str(app.conf.control_exchange),
        events=str(app.conf.event_exchange),
        broadcasts=tuple(sorted(_topic(queue) for queue in app.amqp.queues.values() if _is_fanout(queue))),
    )


def missing(client: redis.Redis, needed: Sequence[Right]) -> list[tuple[Right, redis.ResponseError]]:
    """The rights that this client's user lacks, with Redis's words.

    Each command is queued in a transaction that is never executed: Redis refuses there what it would refuse, and
    nothing is done. Cost: about five round trips on its own connection.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    refused: list[tuple[Right, redis.ResponseError | None]] = []
    for right in needed:
        if right.tried[0] in acl.UNTRIED:
            commands = [("MULTI",), ("EXEC",)] if right.tried[0] == "EXEC" else [right.tried]
            refused.append((right, _replies(client, commands)[-1]))
    if not any(right.tried[0] == "MULTI" and _lacks(reply) for right, reply in refused):
        # Else what follows would be done, and not queued.
        queued = [right for right in needed if right.tried[0] not in acl.UNTRIED]
        replies = _replies(client, [("MULTI",), *(right.tried for right in queued)])[1:]
        refused += zip(queued, replies, strict=True)
    return [(right, reply) for right, reply in refused if reply and _lacks(reply) and _is_about(right, reply)]


def _replies(client: redis.Redis, commands: Iterable[tuple[str, ...]]) -> list[redis.ResponseError | None]:
    """What Redis refuses in each, on a separate connection; closing it discards the queued commands."""
    with closing(client.client()) as own:  # type: ignore[no-untyped-call]
        connection: Any = own.connection
        sent = list(commands)
        replies: list[redis.ResponseError | None] = []
        try:
            for part in (sent[:1], sent[1:]):  # whether the transaction has begun is known before anything follows
                if replies and replies[0] is not None:
                    return [replies[0], *([None] * len(sent[1:]))]
                connection.send_packed_command(connection.pack_commands(part))
                for _ in part:
                    try:
                        connection.read_response()
                        replies.append(None)
                    except redis.ResponseError as refusal:
                        replies.append(refusal)
        finally:
            connection.disconnect()
    return replies


def _lacks(reply: redis.ResponseError | None) -> bool:
    # A refused EXEC ends the transaction, and says so first.
    kinds = (redis.exceptions.NoPermissionError, redis.exceptions.ExecAbortError)
    return isinstance(reply, kinds) or "unknown command" in str(reply).lower()


def _is_about(right: Right, reply: redis.ResponseError) -> bool:
    """A command may be refused for its key, and a key for its command: each is said once, where it belongs."""
    text = str(reply).lower()
    about = "keys" if "access" in text and "key" in text else "channel" if "access" in text else "command"
    return about == right.kind


def _findings(check: str, who: str, client: redis.Redis, needed: Sequence[Right]) -> Findings:
    user = str(client.connection_pool.connection_kwargs.get("username") or "default")
    lacking = missing(client, needed)
    unknown = [right for right, why in lacking if "unknown command" in str(why).lower()]
    denied = [right for right, _why in lacking if right not in unknown]
    if denied:
        yield _denied(check, who, user, denied)
    if unknown:
        text = f"Redis does not know {', '.join(right.text for right in unknown)}: renamed, disabled or too old."
        yield error(check, text, "Allow it (rename-command in redis.conf), or use a server that has it.")
    if not lacking:
        kinds = [(kind, sum(right.kind == kind for right in needed)) for kind in ("command", "channel")]
        text = ", ".join(count(number, kind) for kind, number in kinds)
        yield ok(check, f"Redis user {user} may do all that {who} needs: {text}, every key.")


def _denied(check: str, who: str, user: str, lacking: Sequence[Right]) -> Finding:
    text = f"Redis user {user} lacks what {who} needs: {', '.join(right.text for right in lacking)}."
    return error(check, text, f"ACL SETUSER {acl.quoted(user)} {acl.granting(lacking)}; {KEEP}.")


def _is_fanout(queue: Any) -> bool:
    return queue.exchange is not None and queue.exchange.type == "fanout"


def _topic(queue: Any) -> str:
    # Source: kombu's Redis transport, ``Channel._get_publish_topic``.
    key = str(queue.routing_key or "").replace("#", "*")
    return f"{queue.exchange.name}/{key}" if key else str(queue.exchange.name)


CHECKS = (console, workers)
