"""Takes what a page's browser says and answers it: asks, reads and files, each off the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from panel.viewable import Viewer

from opsdash.errors import Invalid, OpsdashError, Unavailable
from opsdash.model import Status, times
from opsdash.operation import registry
from opsdash.services.audit.query import COUNTED, Filter, Page
from opsdash.services.broker.messages import Message
from opsdash.services.tenants.sync import TenantPlan
from opsdash.services.threads import READS, SEARCHES
from opsdash.text import count, searched
from opsdash.views import rows
from opsdash.views.chart_frame import ChartFrame
from opsdash.views.components import Channel
from opsdash.views.confirmation import Confirmation
from opsdash.views.placement import others
from opsdash.views.request_queue import Turns
from opsdash.views.running import RunningTasks
from opsdash.views.session import Session

PIECE_CHARS = 200_000
TAKEN_S = 30.0
"""A browser that has not taken a piece of an export after so long is gone, or too slow."""
LOG_PAGE = 50
PEEKED = 10
"""Messages at either end of a queue that a look shows."""
MAX_TEXT = 200
IN_TURNS = frozenset({"ask", "fill", "refresh", "export", "log", "peek", "compare", "chart", "open"})
"""What has to read: of each one at a time."""


class Desk(Viewer):
    """The operations page of one browser session."""

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(**params)
        self._session = session
        self._console = session.console
        self._channel = session.channel
        self._confirmation = Confirmation(session)
        self._answers: dict[str, Callable[[Mapping[str, Any]], Awaitable[None]]] = {
            "hello": self._hello,
            "all": self._all,
            "ask": self._ask,
            "typed": self._typed,
            "fill": self._fill,
            "confirm": self._confirm,
            "close": self._close,
            "stop": self._stop,
            "refresh": self._refresh,
            "export": self._export,
            "taken": self._taken,
            "log": self._log,
            "peek": self._peek,
            "compare": self._compare,
            "chart": self._chart,
            "unchart": self._unchart,
            "open": self._open,
        }
        self._turns, self._piece_taken = Turns(), asyncio.Event()
        self._frame, self._running = ChartFrame(session), RunningTasks(session)
        self._channel.on_message = self._on_message

    def __panel__(self) -> Channel:
        return self._channel

    async def _on_message(self, message: Mapping[str, Any]) -> None:
        """One message of the browser: not to be trusted in kind, type or content."""
        kind = str(message.get("type"))
        answer = self._answers.get(kind)
        if answer is None:
            return
        try:
            if kind not in IN_TURNS:
                await answer(message)
                return
            async with self._turns.turn(kind) as mine:
                if mine:
                    await answer(message)
        except OpsdashError as error:
            self._session.say(error.explanation, "bad")

    async def _hello(self, message: Mapping[str, Any]) -> None:
        self._session.hello(message.get("seq"))

    async def _all(self, _message: Mapping[str, Any]) -> None:
        self._session.tell_all()

    async def _ask(self, message: Mapping[str, Any]) -> None:
        await self._confirmation.ask(_text(message, "name"), _mapping(message, "args"), _mapping(message, "half"))

    async def _typed(self, message: Mapping[str, Any]) -> None:
        self._confirmation.typed(_text(message, "id"), _text(message, "text"), _text(message, "phrase"))

    async def _fill(self, message: Mapping[str, Any]) -> None:
        await self._confirmation.fill(_text(message, "id"), _mapping(message, "values"))

    async def _confirm(self, message: Mapping[str, Any]) -> None:
        await self._confirmation.confirm(_text(message, "id"), _mapping(message, "values"))

    async def _close(self, message: Mapping[str, Any]) -> None:
        self._confirmation.close(_text(message, "id"))

    async def _stop(self, _message: Mapping[str, Any]) -> None:
        self._session.stop()

    async def _refresh(self, _message: Mapping[str, Any]) -> None:
        try:
            await self._session.refresh()
        finally:
            self._channel.tell("ready", what="refresh")

    async def _export(self, message: Mapping[str, Any]) -> None:
        try:
            lines = self._console.audit.export(chosen(_mapping(message, "filter"), datetime.now(UTC)))
            self._piece_taken.set()
            while piece := await SEARCHES.run(partial(_piece, lines), caller=self._session.caller):
                await self._when_taken()
                self._channel.tell("piece", text=piece)
            self._channel.tell("file", name=f"opsdash-operations-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv")
        finally:
            self._channel.tell("ready", what="export")

    async def _when_taken(self) -> None:
        """The browser says of each piece that it has it: what waits for a slow one must not fill the memory."""
        try:
            await asyncio.wait_for(self._piece_taken.wait(), TAKEN_S)
        except TimeoutError:
            raise Unavailable(f"The export was stopped: the browser accepted no data for {TAKEN_S:g} s") from None
        self._piece_taken.clear()

    async def _taken(self, _message: Mapping[str, Any]) -> None:
        self._piece_taken.set()

    async def _log(self, message: Mapping[str, Any]) -> None:
        wanted = chosen(_mapping(message, "filter"), datetime.now(UTC))
        after = _text(message, "after") or None
        audit = self._console.audit

        def read() -> tuple[Page, int | None]:
            return audit.page(wanted, limit=LOG_PAGE, after=after), audit.total(wanted, most=COUNTED)

        threads = SEARCHES if wanted.text else READS
        page, total = await threads.run(read, caller=self._session.caller)
        found = [
            {**row, "key": key}
            for key, row in rows.operation_rows(page.entries, here=self._console.broker.identity).items()
        ]
        so_far = "" if page.searched is None else searched(page.searched, page.of, further=after is not None)
        self._channel.tell("log", rows=found, after=page.after, total=total, limit=LOG_PAGE, searched=so_far)

    async def _peek(self, message: Mapping[str, Any]) -> None:
        queue = _text(message, "queue")

        def look() -> tuple[Message, ...]:
            self._console.queues.check(queue, self._console.queue_names())
            return self._console.queues.peek(queue, PEEKED, self._console.settings.redact)

        seen = await READS.run(look, caller=self._session.caller)
        self._channel.tell("peek", queue=queue, rows=[_peeked(one) for one in seen])

    async def _compare(self, _message: Mapping[str, Any]) -> None:
        try:
            began = datetime.now(UTC)
            plan = await READS.run(self._console.tenants.plan, caller=self._session.caller)
            self._channel.tell("compared", at=began.timestamp(), **compared(plan))
        finally:
            self._channel.tell("ready", what="compare")

    async def _chart(self, message: Mapping[str, Any]) -> None:
        await self._frame.open(_text(message, "queue"), _text(message, "span"), dark=message.get("dark") is True)

    async def _unchart(self, _message: Mapping[str, Any]) -> None:
        self._frame.leave()

    async def _open(self, message: Mapping[str, Any]) -> None:
        given = message.get("workers")
        named = given if isinstance(given, list) else []
        await self._running.open(host for host in named if isinstance(host, str) and len(host) <= MAX_TEXT)


def constants(session: Session) -> str:
    """What stays as it is while a page is open, as JSON."""
    settings, actor = session.console.settings, session.actor
    return json.dumps(
        {
            "environment": settings.environment or "",
            "risk": rows.environment_risk(settings.environment or ""),
            "where": settings.redis_label,
            "user": actor.name,
            "who": f"{actor.name} · {session.role.name.lower()}",
            "mode": "development mode" if settings.auth == "dev" else "",
            "others": others(session.role),
            "operations": [[name, kind.title] for name, kind in registry().items()],
            "statuses": [[status.value, status.value.replace("_", " ")] for status in Status],
        }
    )


def chosen(given: Mapping[str, Any], now: datetime) -> Filter:
    """The log's filter as a browser sends it; what is none of ours chooses nothing out.

    Raises:
        Invalid: ``since``, the seconds to look back, is no such number.
    """
    since = _text(given, "since")
    try:
        moment = times.ago(int(since), now) if since else None
    except ValueError:
        raise Invalid(f"{since[:40]!r} is not a time to look back to.", field="Since") from None
    return Filter(
        user=_text(given, "user"),
        operation=_text(given, "operation"),
        status=_text(given, "status"),
        text=_text(given, "text"),
        broker=_text(given, "broker"),
        since=moment,
    )


def compared(plan: TenantPlan) -> dict[str, Any]:
    """What a sync would do, as tiles and as a row for each tenant that is named."""
    tiles = [
        ["in the database", plan.seen.rows],
        ["would be added", plan.added],
        ["would change", plan.changed],
        ["unchanged", plan.seen.unchanged],
        ["orphaned keys", len(plan.orphaned)],
        ["can't be read", plan.seen.unreadable],
    ]
    named = [
        *(
            (tenant, "warn", "change it", "; ".join(fields) or "written differently")
            for tenant, fields in plan.changes.items()
        ),
        *((tenant, "bad", "skip it", why) for tenant, why in plan.seen.failed.items()),
        *((tenant, "info", "keep its key", "no longer in the database") for tenant in plan.orphaned[:LOG_PAGE]),
    ]
    if plan.added:
        named.append((count(plan.added, "new tenant"), "ok", "add", "no key in Redis"))
    found = [
        {"key": f"{state}:{tenant}", "name": tenant, "state": [tone, state, ""], "fields": why}
        for tenant, tone, state, why in named
    ]
    return {"tiles": tiles, "rows": found}


def _piece(lines: Iterator[str]) -> str:
    """The next lines, as many as fit one websocket message; empty at the end."""
    taken, size = [], 0
    for line in lines:
        taken.append(line)
        size += len(line)
        if size > PIECE_CHARS:
            break
    return "".join(taken)


def _peeked(message: Message) -> rows.Row:
    age = "" if message.age_s is None else f"{message.age_s:,.0f} s"
    return {
        "key": str(message.position),
        "position": message.position,
        "name": message.name or message.unreadable,
        "priority": message.priority,
        "arguments": message.arguments,
        "age": age or "not known",
        "retries": message.retries,
        "size": message.size_bytes,
        "id": message.id,
    }


def _text(message: Mapping[str, Any], field: str) -> str:
    value = message.get(field)
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _mapping(message: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = message.get(field)
    return value if isinstance(value, dict) else {}
