"""Where a visitor of the page is: what its address holds, so that a link or a reload shows the same."""

from __future__ import annotations

import param

TABS = ("overview", "queues", "workers", "tenants", "operations")
SPANS = ("15m", "1h", "24h")
MAX_CHARS = 200
"""An address is outside input: anything longer is cut."""
TEXTS = ("queue", "workers", "chart", "scale", "text", "user", "operation", "status", "since", "until")


class Location(param.Parameterized):
    """The chosen tab, queue, open workers, and filters. All are strings: Panel writes lists as ``['x']``.

    A value that an address can't have, such as an unknown tab, is taken as the default: a wrong link still opens.
    """

    tab: param.Selector[str] = param.Selector(default="overview", objects=list(TABS), check_on_set=False)
    queue = param.String(default="", doc="The chosen queue; empty: the first.")
    workers = param.String(default="", doc="The filter of the workers.")
    worker = param.String(default="", doc="Workers whose rows are open, with a comma between them.")
    span: param.Selector[str] = param.Selector(default="15m", objects=list(SPANS), check_on_set=False)
    chart = param.String(default="", doc="``all``: the charts show the first few queues; empty: the chosen one.")
    scale = param.String(default="", doc="``log``: the charts have a logarithmic axis.")
    text = param.String(default="", doc="The log's filters: what the details hold.")
    user = param.String(default="")
    operation = param.String(default="")
    status = param.String(default="")
    since = param.String(default="", doc="Seconds to look back, or a time as ``opsdash audit --since`` takes it.")
    until = param.String(default="", doc="A time as ``opsdash audit --until`` takes it.")
    broker = param.String(default="", doc="``this``, or empty: all brokers.")

    @param.depends("tab", "span", watch=True, on_init=True)
    def _keep_to_what_there_is(self) -> None:
        for name in ("tab", "span"):
            if getattr(self, name) not in self.param[name].objects:
                setattr(self, name, self.param[name].default)

    @param.depends(*TEXTS, watch=True)
    def _cut(self) -> None:
        for name in TEXTS:
            if len(getattr(self, name)) > MAX_CHARS:
                setattr(self, name, getattr(self, name)[:MAX_CHARS])

    @property
    def open_workers(self) -> list[str]:
        """Keys of the workers whose rows are open."""
        return [key for key in self.worker.split(",") if key]

    @open_workers.setter
    def open_workers(self, keys: list[str]) -> None:
        self.worker = ",".join(keys)

    @property
    def log_filter(self) -> dict[str, str]:
        """The filters of the log that are set, by name."""
        names = ("text", "user", "operation", "status", "since", "until", "broker")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


ADDRESS = {name: name for name in Location.param if name != "name"}
"""Parameter → its name in the address."""
