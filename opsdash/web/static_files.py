"""Scripts and styles of Bokeh, Panel and the components: compressed once, and kept by the browser that has them.

These files are the same for everybody. Pages and the API's answers are never compressed here: they hold tokens beside
text that others wrote, and the length of such an answer would tell what is in it (BREACH).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bokeh
import panel as pn
from bokeh.embed.bundle import extension_dirs
from bokeh.server.views.multi_root_static_handler import MultiRootStaticHandler
from bokeh.server.views.static_handler import StaticHandler
from bokeh.settings import settings
from panel.io.resources import COMPONENT_PATH, DIST_DIR, JS_VERSION
from panel.io.server import ComponentResourceHandler
from tornado.web import StaticFileHandler

from opsdash.services.threads import Pool
from opsdash.views.components.base import HERE
from opsdash.views.components.panel_private import version

MOST_KEPT_BYTES = 16 * 1024 * 1024
"""Compressed, in memory, in each process: what was asked for longest ago goes first. The page loads 0.8 MB."""
LARGEST_BYTES = 8 * 1024 * 1024
"""A larger file is sent as it is."""
SMALLEST_BYTES = 1024
"""A smaller one gains nothing."""
LEVEL = 6
"""Of gzip. Level 9 takes twice the time, and 0.3 % off."""
SHORTEST_HASH = 8

FOR_A_YEAR = "public, max-age=31536000, immutable"
ASK_EACH_TIME = "no-cache"
_TEXT = {".js", ".mjs", ".css", ".json", ".map", ".svg", ".txt", ".wasm", ".ttf"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """What is kept of one file.

    Attributes:
        hashes: Of its content, in the two kinds that Bokeh and Panel write into addresses: SHA-512 and SHA-256.
        packed: Its content, gzip-compressed; None where that gains nothing.
    """

    hashes: tuple[str, str]
    packed: bytes | None

    def has_version(self, version: str) -> bool:
        """The file has this content, as an address says it: by a hash or the start of one, or by a release."""
        if version in _RELEASES:
            return True
        return len(version) >= SHORTEST_HASH and any(known.startswith(version) for known in self.hashes)


_RELEASES = {JS_VERSION, pn.__version__, bokeh.__version__}
_RELEASES |= {hashlib.sha256(release.encode()).hexdigest() for release in _RELEASES}
"""Panel's styles have its release in their addresses, its script a hash of that. Our own release is none of them: it
stays the same while a component changes."""


class StaticFiles:
    """Reads and compresses each file once; one that has changed is another file.

    Args:
        most_bytes: Compressed content that is kept, in all.
    """

    def __init__(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._files: dict[tuple[str, int, int], StaticFile] = {}
        self._thread = Pool("static", 1)  # one: who asks for the same file meanwhile finds it made

    async def file(self, path: str) -> StaticFile | None:
        """The file, compressed beside the event loop if it was not yet; None: it can't be read, or is too large.

        Cost: once per file, about 30 ms for each megabyte.
        """
        return self._kept(path) or await self._thread.run(partial(self._made, path))

    def prepare(self, paths: Iterable[str]) -> None:
        """Makes them beside everything else: nobody waits, the first visitor neither."""
        for path in paths:
            self._thread.start(partial(self._made, path))

    def _kept(self, path: str) -> StaticFile | None:
        key = _key(path)
        with self._lock:
            found = self._files.pop(key, None) if key else None
            if key and found:
                self._files[key] = found  # the last one now
            return found

    def _made(self, path: str) -> StaticFile | None:
        key = _key(path)
        if key is None or key[2] > LARGEST_BYTES:
            return None
        if (found := self._kept(path)) is not None:
            return found
        try:
            content = Path(path).read_bytes()
        except OSError:
            return None  # Tornado's handler meets it too, and answers
        packed = gzip.compress(content, LEVEL, mtime=0) if is_text(path) and len(content) >= SMALLEST_BYTES else None
        if packed is not None and len(packed) >= len(content):
            packed = None
        made = StaticFile((hashlib.sha512(content).hexdigest(), hashlib.sha256(content).hexdigest()), packed)
        with self._lock:
            self._files[key] = made
            while self._kept_bytes() > self._most_bytes:
                del self._files[next(iter(self._files))]
        return made

    def _kept_bytes(self) -> int:
        return sum(len(file.packed or b"") for file in self._files.values())


def _key(path: str) -> tuple[str, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return path, found.st_mtime_ns, found.st_size


def is_text(path: str) -> bool:
    """Compression makes it smaller: a picture, or a font for the web, is compressed already."""
    return os.path.splitext(path)[1].lower() in _TEXT


def takes_gzip(accepted: str) -> bool:
    """What a client's ``Accept-Encoding`` says of gzip; without the header it gets the file as it is."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, *params = (piece.strip() for piece in part.split(";"))
        weights[name] = 1.0
        for param in params:
            key, _, value = param.partition("=")
            if key.strip() == "q":
                weights[name] = _weight(value)
    own = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return own > 0 and own >= weights.get("identity", 0.0)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


FILES = StaticFiles()
"""The process's: its servers share what is compressed."""


def prepare() -> None:
    """Compresses what every page loads: 0.15 s of a thread, once per process."""
    scripts = Path(settings.bokehjs_path()) / "js"
    names = ("bokeh", "bokeh-gl", "bokeh-widgets", "bokeh-tables")
    paths = [*(scripts / f"{name}.min.js" for name in names), DIST_DIR / "panel.min.js"]
    FILES.prepare(map(str, paths))


class Compressed(StaticFileHandler):
    """Before a handler of static files: it sends what is kept of the file that the handler has found."""

    _file: StaticFile | None = None
    _packs = False

    async def get(self, path: str, include_body: bool = True) -> None:
        """Sends the file, or that the client's copy is good. A part of it is a part of the file as it is."""
        if "If-Range" in self.request.headers:  # Tornado would send the part of another version
            self.request.headers.pop("Range", None)
        self.path = self.parse_url_path(path)
        found = self.validate_absolute_path(self.root, self.get_absolute_path(self.root, self.path))
        self._file = await FILES.file(found) if found else None
        packed = self._file.packed if self._file else None
        wanted = takes_gzip(self.request.headers.get("Accept-Encoding", ""))
        if found is None or packed is None or not wanted or "Range" in self.request.headers:
            await super().get(path, include_body)
            return
        self._packs, self.absolute_path = True, found
        self.modified = self.get_modified_time()
        self.set_headers()
        if self.should_return_304():
            self.set_status(304)
            return
        self.set_header("Content-Encoding", "gzip")
        self.set_header("Content-Length", len(packed))
        if include_body:
            self.write(packed)

    def compute_etag(self) -> str | None:
        """Each form of the file has its own."""
        if self._file is None:
            return super().compute_etag()
        return f'"{self._file.hashes[0]}{"-gzip" if self._packs else ""}"'

    def get_cache_time(self, *_args: Any) -> int:
        """0: Tornado would keep any address with a version, for ten years."""
        return 0

    def set_extra_headers(self, path: str) -> None:
        """How long it is kept. An address that names another version of the file came from another release's page."""
        version = self.get_query_argument("v", "")
        sure = self._file is not None and self._file.has_version(version)
        self.set_header("Cache-Control", FOR_A_YEAR if sure else ASK_EACH_TIME)
        if is_text(self.absolute_path or path):
            self.set_header("Vary", "Accept-Encoding")


class BokehFiles(Compressed, StaticHandler):
    """BokehJS."""


class ExtensionFiles(Compressed, MultiRootStaticHandler):
    """What packages bring for the browser, such as Panel's own script."""


class ComponentFiles(Compressed, ComponentResourceHandler):
    """Scripts and styles of single components. Those of opsdash have the version of all of them in their addresses."""

    def set_extra_headers(self, path: str) -> None:
        """As above; a browser that has them all asks for none of them."""
        super().set_extra_headers(path)
        folder = Path(self.absolute_path or path).parent
        if folder == HERE and self.get_query_argument("v", "") == version(HERE):
            self.set_header("Cache-Control", FOR_A_YEAR)


def routes() -> list[tuple[str, type[StaticFileHandler], dict[str, Any]]]:
    """The routes, as Tornado takes them; they come before those of Bokeh and Panel."""
    return [
        (r"/static/extensions/(.*)", ExtensionFiles, {"root": extension_dirs}),
        (r"/static/(.*)", BokehFiles, {}),
        (rf"/{COMPONENT_PATH}(.*)", ComponentFiles, {}),
    ]
