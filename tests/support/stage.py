"""One component in a page of its own, served as opsdash serves its pages: with its content security policy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import panel as pn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from support import services
from tornado.ioloop import IOLoop

from opsdash.web.response_headers import SecurityHeaders

T = TypeVar("T")
PAYLOADS = ("<img src=x onerror=\"document.title='taken'\">", "<script>document.title='taken'</script>", "';alert(1)//")
DRESS = """theme => {
  document.documentElement.dataset.theme = theme
  document.documentElement.lang = 'en'
  document.title ||= 'test'
  document.body.style.background = theme === 'dark' ? '#0a0c10' : '#f5f7f9'
}"""


class Stage:
    """A server in a thread; ``make`` gives what each page shows.

    Attributes:
        shown: What the newest page shows.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.shown: Any = None
        self._make = make
        self._doc: Any = None
        self.port = services.free_port()
        listening = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(asyncio.new_event_loop())
            self._loop = IOLoop.current()
            server = pn.io.server.get_server(self._page, port=self.port, transforms=[SecurityHeaders], title="test")
            server.start()
            self._loop.add_callback(listening.set)
            self._loop.start()
            server.stop()
            self._loop.close(all_fds=True)

        self._thread = threading.Thread(target=run, name="stage", daemon=True)
        self._thread.start()
        assert listening.wait(20), "the stage's server did not start"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def _page(self) -> Any:
        self.shown, self._doc = self._make(), pn.state.curdoc
        return self.shown

    def do(self, act: Callable[[], T]) -> T:
        """Runs something in the newest page's session, as its own callbacks run, and gives what it returns."""
        done, found = threading.Event(), []

        def run() -> None:
            try:
                found.append(act())
            except Exception as error:  # noqa: BLE001 - it belongs to the test
                found.append(error)
            done.set()

        self._doc.add_next_tick_callback(run)
        assert done.wait(10), "the page's session did not run it"
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def set(self, component: Any, **params: Any) -> None:
        """Sets parameters of a component in the newest page's session."""
        self.do(lambda: component.param.update(**params))

    def close(self) -> None:
        self._loop.add_callback(self._loop.stop)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the stage's server did not stop"


def dress(page: Page, theme: str = "light") -> Page:
    """Gives the page the colours that opsdash's own page has."""
    page.evaluate(DRESS, theme)
    page.wait_for_timeout(250)  # every component takes its colours in its own time
    return page


def axe(page: Page, least: int = 1) -> None:
    """No violation of any rule but those about a whole page, and the rules did see what is in shadow roots."""
    whole = {name: {"enabled": False} for name in ("region", "landmark-one-main", "page-has-heading-one", "bypass")}
    found = Axe().run(page, options={"resultTypes": ["violations", "passes"], "rules": whole})
    faults = [
        (rule["id"], node["target"], node["html"], node["failureSummary"])
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]
    assert not faults, faults
    seen = {rule["id"]: len(rule["nodes"]) for rule in found.response["passes"]}
    assert seen.get("color-contrast", 0) >= least


FOCUSED = """name => {
  let at = document.activeElement
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
  const said = at?.getAttribute('aria-label') || at?.textContent.trim() || at?.labels?.[0]?.textContent || ''
  return said.startsWith(name)
}"""


def until_focused(page: Page, name: str) -> None:
    """Waits until the focus is on what has this name, or begins with it."""
    page.wait_for_function(FOCUSED, arg=name, timeout=15_000)
