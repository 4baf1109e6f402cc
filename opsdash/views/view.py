"""What every card is: bound to a status, part of the page or a widget by itself, with Panel's own layout keywords."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn
import param
from panel.custom import PyComponent
from panel.viewable import Viewable
from param.parameterized import resolve_ref, resolve_value, transform_reference

from opsdash.errors import Invalid
from opsdash.model import Actor, Effect, usernames
from opsdash.views.components import Card
from opsdash.views.components.panel_private import in_kernels_turn
from opsdash.views.dialog import ConfirmationDialog
from opsdash.views.identity import Closed, identify
from opsdash.views.readings import PageStatus
from opsdash.views.session import Session

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.model import Model
    from pyviz_comms import Comm

    from opsdash.services.console import Console as Service

log = logging.getLogger(__name__)

THEMES = ["auto", "light", "dark"]
SERVER_SILENT = "The server has not answered since then, so the buttons are off."
KERNEL_SILENT = (
    "This is a saved copy, or the kernel is busy or has ended, or the widget is closed: the buttons are off. "
    "For new figures run the cell again."
)


class View(PyComponent):
    """Base of all cards. A subclass says in ``_build`` what it looks like; that is asked for once, at the first render.

    In a server it belongs to the visitor whose session made it, and closed settings close it too. Elsewhere it acts for
    the user of the process, by the surface ``notebook``. All of one console share its poller.

    Args:
        ops: What ``opsdash.connect()`` returns.
        actor: Who acts, where that is not the user of the operating system; not in a server, whose proxy tells.
        session: The page's, for a card of the page; then it shares the page's dialog and messages.
        params: Its parameters, and the layout keywords of Panel: ``width``, ``height``, ``sizing_mode``, ``margin`` …

    Raises:
        Invalid: ``actor`` can't be taken.
        ValueError: A parameter can't be.
    """

    status: PageStatus = param.ClassSelector(  # type: ignore[assignment] # a parameter is its value on an instance
        class_=PageStatus,
        allow_None=False,
        constant=True,
        allow_refs=False,
        doc="Its data; follow the parameters with pn.bind.",
    )
    queue: param.Selector[str] = param.Selector(
        default="",
        objects=[""],
        check_on_set=False,
        allow_refs=True,
        doc="The chosen queue, one of those that are known; the same as ``status.selected_queue``. A widget or "
        "parameter that the constructor gets is followed, and follows.",
    )
    theme: param.Selector[str] = param.Selector(
        default="auto", objects=THEMES, allow_refs=True, doc="Auto: as the page or notebook around it."
    )
    actions = param.Boolean(default=True, doc="It has buttons. False: look only.")
    columns = param.List(default=[], item_type=str, doc="Fields of its table's columns, in their order; empty: all.")

    def __init__(
        self, ops: Service | None = None, *, actor: str = "", session: Session | None = None, **params: Any
    ) -> None:
        who, alone = (session.actor, False) if session is not None else (_who(_needed(ops, type(self)), actor), True)
        given = params.pop("queue", "")
        queue = resolve_value(given) or ""
        if session is None:
            status = PageStatus(selected_queue=queue)
            session = Session(ops, who, status) if ops is not None and isinstance(who, Actor) else None
        else:
            status = session.status
        self._alone, self._closed = alone, who if isinstance(who, Closed) else None
        self._callbacks: list[Callable[[Effect], Any]] = []
        self._wanted = queue
        self._offered: list[str] = []
        if session is not None:
            self._session = session
        theme = params.get("theme", "auto")
        if isinstance(theme, str) and theme not in THEMES:
            raise Invalid(f"got {theme!r}; expected auto, light or dark", field="theme")
        params.setdefault("sizing_mode", "stretch_width")
        super().__init__(status=status, queue=queue, **params)
        if session is None:
            return  # closed: nothing is read, and nothing shown but why
        if alone:
            session.attach()
            session.dialog = ConfirmationDialog(session, theme=self.param.theme)
        self._dialog: ConfirmationDialog = session.dialog
        self._dialog.on_effect(self._told)
        names = [queue.name for queue in self.status.queues]
        if queue and names and queue not in names:
            raise _unknown(queue, names)
        self._offer_queues()
        self._follow_choice()
        if given is not queue:
            self._follow(given)

    def __panel__(self) -> Viewable:
        if self._closed is not None:
            return closed_card(self._closed)
        try:
            card = self._build()
        except Exception:
            if not self._session.served:
                raise
            # Panel would show its traceback to the client; and the other cards are fine.
            log.exception("%s could not be made", type(self).__name__)
            return closed_card(Closed(heading="This could not be made", lines=("opsdash's log says why.",)))
        if not self._alone:
            return card
        silence = SERVER_SILENT if self._session.served else KERNEL_SILENT
        self._session.messages.param.update(theme=self.param.theme, embedded=True, reloads=False, silence=silence)
        scroll = param.bind(_scroll, self.param.height, self.param.max_height)
        # Panel gives it the view's own layout keywords.
        return pn.Column(card, self._dialog, self._session.messages, scroll=scroll)

    def _build(self) -> Viewable:
        """What it looks like."""
        raise NotImplementedError

    def shown_columns(self, columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of these columns the chosen ones, in the chosen order; without buttons where there are to be none.

        Raises:
            Invalid: One is chosen that does not exist.
        """
        known = {column["field"]: column for column in columns}
        if wrong := [name for name in self.columns if name not in known]:
            raise Invalid(f"has no {wrong[0]!r}; expected some of {', '.join(known)}", field="columns")
        wanted = [*self.columns, "acts"] if self.columns else known
        return [known[name] for name in wanted if name in known and (self.actions or name != "acts")]

    def clock(self) -> dict[str, Any]:
        """What ages in a table count from: the server's clock, and whether they are frozen."""
        at = self.status.updated_at
        return {"now": at.timestamp() if at is not None else 0, "frozen": self.status.redis_stale}

    def on_action(self, callback: Callable[[Effect], Any]) -> None:
        """Calls, or awaits, ``callback`` with the effect of each operation that was confirmed in it."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Ends its subscription; it still shows its last data. Calling it again does nothing."""
        if self._closed is None and self._alone:
            self._session.close()

    def _told(self, effect: Effect) -> None:
        for callback in self._callbacks:
            try:
                pn.state.execute(partial(callback, effect), schedule=False)
            except Exception:
                # The user's own; what was done is done, and the widget goes on.
                log.exception("a callback of on_action failed")

    def _follow(self, source: Any) -> None:
        """The queue is that of a widget or parameter, and the other way round where it is one.

        Param would drop a reference at the first choice that is made here.
        """

        def take(_event: object) -> None:
            if chosen := resolve_value(source):
                self.queue = chosen

        def give(event: param.parameterized.Event) -> None:
            # A Select that does not offer this queue stays as it is.
            with suppress(ValueError):
                setattr(parameter.owner, parameter.name, event.new)

        for one in resolve_ref(source):
            one.owner.param.watch(take, one.name)
        if isinstance(parameter := transform_reference(source), param.Parameter):
            self.param.watch(give, "queue")

    @param.depends("status.queues", watch=True)
    def _offer_queues(self) -> None:
        names = [queue.name for queue in self.status.queues]
        if names and names != self._offered:  # at each reading; to ask Param is dear
            self._offered, choice = names, self.param.queue
            choice.check_on_set = False
            choice.objects = names
            choice.check_on_set = True
        if names and self._wanted and self._session.served:  # the first reading has come after it was made
            wanted, self._wanted = self._wanted, ""
            if wanted not in names:
                unknown = _unknown(wanted, names)
                log.error("%s: %s", type(self).__name__, unknown)
                self._session.say(str(unknown), "bad")

    @param.depends("status.selected_queue", watch=True)
    def _follow_choice(self) -> None:
        if self.status.selected_queue and self.queue != self.status.selected_queue:
            self.queue = self.status.selected_queue

    @param.depends("queue", watch=True)
    def _choose(self) -> None:
        if self.queue and self.queue != self.status.selected_queue:
            self.status.selected_queue = self.queue

    def _get_model(
        self, doc: Document, root: Model | None = None, parent: Model | None = None, comm: Comm | None = None
    ) -> Model:
        # Made outside of a browser session it acts for the user of the process: a server's visitor must not get it.
        if doc.session_context is not None and self._closed is None and not self._session.served:
            elsewhere: Model = _elsewhere()._get_model(doc, root, parent, comm)
            return elsewhere
        model: Model = super()._get_model(doc, root, parent, comm)
        if self._closed is None:
            in_kernels_turn(root or model, doc, comm, self._session.later)
        return model


def closed_card(why: Closed) -> Card:
    """Nothing but why a user sees nothing, and what to do."""
    lines = [["none", line] for line in why.lines]
    return Card(title=why.heading, lines=[*lines, *([["code", why.commands]] if why.commands else [])])


def _elsewhere() -> Card:
    return Card(
        title="This widget was created before your visit",
        lines=[
            ["none", "It acts for the user who started this server, so it shows nothing to a visitor."],
            [
                "none",
                "Create it in a function that the server calls for each: pn.serve(lambda: opsdash.WorkerHealth(ops)).",
            ],
        ],
    )


def _unknown(queue: str, names: list[str]) -> Invalid:
    return Invalid(f"there is no queue {queue!r}; expected one of {', '.join(names)}", field="queue")


def _scroll(height: int | None, max_height: int | None) -> str | bool:
    """What is higher than it may be scrolls inside, and covers nothing below."""
    return "y-auto" if height or max_height else False


def _needed(ops: Service | None, kind: type[View]) -> Service:
    if ops is None:
        raise TypeError(f"{kind.__name__} needs what opsdash.connect() returns")
    return ops


def _who(ops: Service, actor: str) -> Actor | Closed:
    doc = pn.state.curdoc
    if doc is None or doc.session_context is None:
        return ops.settings.actor(actor or usernames.os_user(), surface="notebook")
    if actor:
        raise Invalid("in a server the visitor is the user; leave it out", field="actor")
    return identify(ops.settings)
