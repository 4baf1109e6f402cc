"""The page's parts as widgets: in a notebook, in a template, in another application's page.

Each works alone and asks for the same typed confirmation as the page. All of one console share its poller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import panel as pn
import param
from panel.viewable import Viewable, Viewer

from opsdash.errors import Invalid
from opsdash.model import Actor, usernames
from opsdash.state import SystemStatus
from opsdash.views.components import ClosedDoor
from opsdash.views.embedded import Embedded, Fragment
from opsdash.views.identity import Closed, identify
from opsdash.views.page_requests import constants
from opsdash.views.widget_session import FedStatus, WidgetDesk, WidgetSession

if TYPE_CHECKING:
    from opsdash.services.console import Console as Service


class Widget(Viewer):
    """Base of all widgets.

    In a server it belongs to the visitor whose session made it, and closed settings close it too. Elsewhere it acts for
    the user of the process, by the surface ``notebook``.

    Args:
        ops: What ``opsdash.connect()`` returns.
        actor: Who acts, where that is not the user of the operating system; not in a server, whose proxy tells.
        queue: The queue it begins with; default: ``celery``, else the first.
        theme: ``light``, ``dark``, or ``auto``: as what is around it.

    Raises:
        Invalid: ``actor`` or ``theme`` can't be taken.
    """

    status = param.ClassSelector(
        class_=SystemStatus, constant=True, allow_refs=False, doc="Its data; follow the parameters with pn.bind."
    )

    _part: ClassVar[str] = ""
    _home: ClassVar[str] = "overview"

    def __init__(self, ops: Service, *, actor: str = "", queue: str = "", theme: str = "auto", **params: Any) -> None:
        if theme not in {"auto", "light", "dark"}:
            raise Invalid(f"got {theme!r}; expected auto, light or dark", field="theme")
        status = FedStatus(selected_queue=queue)
        super().__init__(status=status, **params)
        who = _who(ops, actor)
        self._session: WidgetSession | None = None
        self._shown: Viewable
        if isinstance(who, Closed):
            self._shown = ClosedDoor(
                heading=who.heading, lines=list(who.lines), commands=who.commands, sizing_mode="stretch_width"
            )
            return
        channel = self._channel(theme=theme, queue=queue)
        self._session = WidgetSession(ops, who, channel, status)
        self._desk = WidgetDesk(self._session)
        channel.constants = constants(self._session)
        self._session.attach()
        self._shown = channel

    def _channel(self, *, theme: str, queue: str) -> Embedded:
        return Fragment(part=self._part, home=self._home, theme=theme, queue=queue, sizing_mode="stretch_width")

    def __panel__(self) -> Viewable:
        return self._shown

    def close(self) -> None:
        """Ends its subscription; it still shows its last data. Calling it again does nothing."""
        if self._session is not None:
            self._session.close()


class WorkerHealth(Widget):
    """Workers with state, uptime, busy slots, totals and what each runs; quiet and wake where the role allows them."""

    _part = "workers"
    _home = "workers"


class QueueTable(Widget):
    """Queues with what waits in each; pause, resume, peek and clear where the role allows them."""

    _part = "queues"
    _home = "queues"


class QueueChart(Widget):
    """Depth and throughput of 15 minutes, an hour or a day, with pauses and operations marked."""

    _part = "chart"
    _home = "queues"


class RecentOperations(Widget):
    """The newest entries of the audit log, with Undo where there is one."""

    _part = "log"


class OperationControls(Widget):
    """Pause, resume, clear a queue and sync tenant configs: each previewed and confirmed by typing ``YES``."""

    _part = "controls"


class TenantDrift(Widget):
    """Whether the tenants' database and Redis differ, and the sync that ends it."""

    _part = "tenants"
    _home = "tenants"


class Console(Widget):
    """The whole page as one thing among others.

    Args:
        whole: It has the browser window to itself: it writes the address and the title, and hears single keys.
    """

    def __init__(self, ops: Service, *, whole: bool = False, **options: Any) -> None:
        self._whole = whole
        super().__init__(ops, **options)

    def _channel(self, *, theme: str, queue: str) -> Embedded:
        return Embedded(theme=theme, whole=self._whole, sizing_mode="stretch_width")


def _who(ops: Service, actor: str) -> Actor | Closed:
    doc = pn.state.curdoc
    if doc is None or doc.session_context is None:
        return ops.settings.actor(actor or usernames.os_user(), surface="notebook")
    if actor:
        raise Invalid("in a server the visitor is the user; leave it out", field="actor")
    return identify(ops.settings)
