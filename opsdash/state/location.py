"""Where a visitor of the page is: what its address holds, so that a link or a reload shows the same."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

import param
from param.parameterized import instance_descriptor

TABS = ("overview", "queues", "workers", "tenants", "operations", "failures")
SPANS = ("15m", "1h", "24h")
MAX_CHARS = 200
"""An address is outside input: anything longer is cut."""


class _Text(param.String):  # type: ignore[type-arg]
    """Text of a bounded length. Panel reads ``?queue=42`` as a number: what is no text is not taken."""

    @instance_descriptor  # type: ignore[untyped-decorator]
    def __set__(self, obj: Any, val: Any) -> None:
        if isinstance(val, str):
            super().__set__(obj, val[:MAX_CHARS])


class _OneOf(param.Selector):  # type: ignore[type-arg]
    """One of its objects; anything else is its default."""

    @instance_descriptor  # type: ignore[untyped-decorator]
    def __set__(self, obj: Any, val: Any) -> None:
        super().__set__(obj, val if val in self.objects else self.default)


class Location(param.Parameterized):
    """The chosen tab, queue, open workers, and filters. All are strings: Panel writes lists as ``['x']``.

    A value that an address can't have, such as an unknown tab, is taken as the default: a wrong link still opens.
    """

    tab: param.Selector[str] = _OneOf(default="overview", objects=list(TABS))
    queue = _Text(default="", doc="The chosen queue; empty: the first.")
    workers = _Text(default="", doc="The filter of the workers.")
    worker = _Text(default="", doc="Workers whose rows are open, with a comma between them.")
    failures = _Text(default="", doc="The filter of the failed tasks.")
    failure = _Text(default="", doc="Fingerprints of groups of failed tasks that are open, with a comma between them.")
    span: param.Selector[str] = _OneOf(default="15m", objects=list(SPANS))
    chart = _Text(default="", doc="``all``: the charts show the first few queues; empty: the chosen one.")
    scale = _Text(default="", doc="``log``: the charts have a logarithmic axis.")
    text = _Text(default="", doc="The log's filters: what the details hold.")
    user = _Text(default="")
    operation = _Text(default="")
    status = _Text(default="")
    since = _Text(default="", doc="Seconds to look back, or a time as ``opsdash audit --since`` takes it.")
    until = _Text(default="", doc="A time as ``opsdash audit --until`` takes it.")
    broker = _Text(default="", doc="``this``, or empty: all brokers.")

    @property
    def open_workers(self) -> list[str]:
        """Keys of the workers whose rows are open."""
        return [key for key in self.worker.split(",") if key]

    @open_workers.setter
    def open_workers(self, keys: list[str]) -> None:
        self.worker = ",".join(keys)

    @property
    def open_failures(self) -> list[str]:
        """Fingerprints of the groups of failed tasks whose rows are open."""
        return [key for key in self.failure.split(",") if key]

    @open_failures.setter
    def open_failures(self, keys: list[str]) -> None:
        self.failure = ",".join(keys)

    @property
    def log_filter(self) -> dict[str, str]:
        """The filters of the log that are set, by name."""
        names = ("text", "user", "operation", "status", "since", "until", "broker")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def take(self, query: str) -> None:
        """Takes over what the address holds, each value as the text that it is.

        Args:
            query: What follows the question mark.
        """
        given = dict(parse_qsl(query))
        self.param.update(**{name: given[name] for name in ADDRESS if name in given})


ADDRESS = {name: name for name in Location.param if name != "name"}
"""Parameter → its name in the address."""


def shortened(query: str) -> str:
    """The address without what is as it is by default."""
    usual = {name: Location.param[name].default for name in ADDRESS}
    return urlencode([(name, value) for name, value in parse_qsl(query, True) if value != usual.get(name)])
