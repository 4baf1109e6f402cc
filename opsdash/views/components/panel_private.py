"""Everything of Panel that has no public name and that the components need, in one place.

Tested with Panel 1.9.4. A name that is missing is an ``ImportError`` that says so, not a page that stays empty.

For upstream, each with what would make it public:

* ``_component_resource_path`` gives a bundle an address without a version: a browser may keep yesterday's script.
  ``?v=`` and a hash of the file would let it be kept for good (``config.autoreload`` has it already).
* ``_get_properties`` leaves the style beside a bundle out in notebooks and saved files (``css_bundle`` is None there).
* ``_repr_mimebundle_`` puts styles into a notebook for what is displayed first; a widget that comes later asks the CDN.
* ``_update_model`` looks each value up on the wrong model: ``ReactiveESM`` sets what belongs to ``model.data`` through
  ``Reactive._set_on_model``, whose ``lookup`` fails slowly (difflib suggests names) before the right one is asked.
* ``_update_properties`` works out the parameters of the design at each update of any parameter, and uses them for
  ``stylesheets`` alone: half of what a tick costs, for each widget.
* ``_get_properties`` and ``_get_children`` ask for each Parameter by ``self.param[name]``, which copies it for the
  instance: a fifth of what a session costs, and 50 kB of its memory. Those of the class would do.
* Bokeh looks at the default of each property that may refer to a model whenever a document gets one, and keeps the
  empty list or dict that it is: some 430 of them, each with a set of its owners, are a fifth of a page's memory.
* ``_linked_properties`` has a callback for each property of a component, whether its script sets it or not: 165 of a
  page, for nine that are set. A component could name them.
* ``FileDownload._async_sync_data`` has no way to say that there is no file, and keeps ``data`` for good.
* ``push`` to a notebook whose browser has not opened the comm yet tries again each message by itself, every 0.1 s: they
  arrive in another order, and name models that come later. A queue for each comm would keep the order.
* What a browser sends is handled in the thread that it comes in. JupyterLab 4.4 and later give each comm its own one
  (subshells), and Panel's state is made for one: patches are torn apart, callbacks find another event loop.
* ``_render_esm`` inlines one file. Two components can't share a module: it would need an address for ``_esm_shared``
  beyond ``panel compile``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import panel as pn
from bokeh.core.property.wrappers import PropertyValueContainer
from bokeh.models.ui import UIElement
from panel.custom import JSComponent, ReactiveESM
from panel.io import model as _model
from panel.io import notebook as _notebook
from panel.reactive import Syncable
from panel.viewable import MimeRenderMixin
from param.parameterized import no_instance_params

if TYPE_CHECKING:
    from bokeh.document import Document

_NEEDED: dict[Any, tuple[str, ...]] = {
    ReactiveESM: (
        "_component_resource_path",
        "_render_esm",
        "_get_properties",
        "_get_children",
        "_update_model",
        "_bundle_css",
    ),
    Syncable: ("_process_param_change", "_update_properties", "_apply_update", "_linked_properties"),
    JSComponent: ("_send_msg", "_handle_msg"),
    pn.widgets.FileDownload: ("_async_sync_data",),
    _model: ("apply_changes_without_dispatch",),
    _notebook: ("patch_inline_stylesheets", "push"),
    MimeRenderMixin: ("_render_mimebundle",),
}


def check() -> None:
    """Names of Panel that the components rest on.

    Raises:
        ImportError: This Panel does not have one of them.
    """
    for owner, names in _NEEDED.items():
        for name in names:
            if name not in dir(owner):  # hasattr would run what is a property of a class
                raise ImportError(f"opsdash needs {owner.__name__}.{name}, which Panel {pn.__version__} does not have")


check()
apply_changes_without_dispatch = _model.apply_changes_without_dispatch

_SHARED = re.compile(r"^const \{[^}]*\} =\s+await import\(.*\)$", re.MULTILINE)
"""The line by which a script gets what all share: loaded by address, or put in its place where there is none."""


class FileComponent(JSComponent):
    """A component whose script and style are files that a browser keeps.

    ``_shared`` is the file whose exports each script imports, and whose style each has; it is the bundle of the class
    that sets it. Where a page is served, all three go by their address; in a notebook or a saved file they are inlined.
    ``_written`` names the parameters that the script sets: no other is followed.
    """

    __abstract = True

    _shared: ClassVar[Path]
    _written: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **params: Any) -> None:
        # Param copies a Parameter for an instance that is asked for it or gets a value; nobody needs a component's own.
        no_instance_params(type(self))
        super().__init__(**params)

    @property
    def _linked_properties(self) -> tuple[str, ...]:
        return self._written

    @classmethod
    def _component_resource_path(cls, esm_path: Any, compiled: Any) -> str:
        path: str = super()._component_resource_path(esm_path, compiled)
        return f"{path}?v={version(cls._shared.parent)}"

    @classmethod
    def _render_esm(cls, compiled: Any = True, server: bool = False) -> str:
        text: str = super()._render_esm(compiled, server)
        if server:
            return text
        shared = cls._shared.read_text(encoding="utf-8").replace("\nexport ", "\n")
        return _SHARED.sub(lambda _: shared, text)

    def _get_children(self, data_model: Any, doc: Any, root: Any, parent: Any, comm: Any) -> Any:
        """In a notebook with ``inline``, what comes later has its styles in it, too."""
        children, old = super()._get_children(data_model, doc, root, parent, comm)
        if comm is not None and pn.config.inline:
            for child in children.values():
                for one in child if isinstance(child, list) else [child]:
                    for model in one.select({"type": UIElement}) if one is not None else ():
                        _notebook.patch_inline_stylesheets(model)
        return children, old

    def _get_properties(self, doc: Any) -> dict[str, Any]:
        props: dict[str, Any] = super()._get_properties(doc)
        if props.get("bundle") != "url":
            own = "".join(path.read_text(encoding="utf-8") for path in self._bundle_css)
            props["css_bundle"] = self._shared.with_suffix(".css").read_text(encoding="utf-8") + own
            props["bundle"] = f"{props['bundle']}-{version(self._shared.parent)}"  # else a notebook keeps an old script
        return props

    def _process_param_change(self, params: dict[str, Any]) -> dict[str, Any]:
        props: dict[str, Any] = super()._process_param_change(params)
        if "stylesheets" in props and _in_session():
            props["stylesheets"] = [_shared_style(type(self)), *props["stylesheets"]]
        return props

    def _update_properties(self, *events: Any, doc: Any) -> dict[str, Any]:
        """Without the parameters of the design, which are needed for new stylesheets alone: they are half of a tick."""
        if any(event.name == "stylesheets" for event in events):
            return super()._update_properties(*events, doc=doc)
        return self._process_param_change({event.name: event.new for event in events})

    def _update_model(self, events: Any, msg: Any, root: Any, model: Any, doc: Any, comm: Any) -> None:
        """Plain values straight to the browser, without a lookup of each on a model that does not have it."""
        known = model.data.properties()
        events_of = set(model.events)
        plain = {
            name: msg.pop(name)
            for name in list(msg)
            if name in known and name not in model.children and name not in events_of
        }
        if plain:
            pending = self._in_process__events.get(doc, {})
            with unheard(self._changing, root.ref["id"], list(plain)):
                model.data.update(**{k: value for k, value in plain.items() if pending.get(k, ...) != value})
        if msg or any(name in model.children for name in events):
            super()._update_model(events, msg, root, model, doc, comm)


def addresses(*components: type[FileComponent]) -> list[tuple[str, str]]:
    """What a browser will ask for when it makes these: ``("module" | "style", address)``, seen from the page."""
    found = []
    for component in components:
        script = component._component_resource_path(component._bundle, True)
        found.append(("module", script))
        found.append(("style", script.replace("/_bundle_path/", "/_bundle_css/").replace(".js?", ".css?")))
    return found


class NoFileError(Exception):
    """What a download asks has no file to give, and has said why."""


class Download(pn.widgets.FileDownload):
    """A download whose callback may raise ``NoFileError``, and that forgets what the browser has got."""

    async def _async_sync_data(self) -> None:
        with suppress(NoFileError):
            await super()._async_sync_data()
        self.data = ""  # else the session would hold the file as long as it lasts


def forget_defaults(doc: Document) -> None:
    """Lets go of empty defaults that Bokeh has kept; it makes those again that are asked for.

    Without Bokeh's private name for them nothing is let go, and nothing else is different.
    """
    for model in doc.models:
        kept: dict[str, Any] = getattr(model, "_unstable_default_values", {})
        for name in [name for name, value in kept.items() if isinstance(value, PropertyValueContainer) and not value]:
            del kept[name]


@contextmanager
def unheard(changing: dict[str, list[str]], ref: str, names: list[str]) -> Iterator[None]:
    """What the server sets is not taken as if the browser had set it."""
    before = changing.get(ref)
    changing[ref] = names
    try:
        yield
    finally:
        if before is None:
            changing.pop(ref, None)
        else:
            changing[ref] = before


_UNHEARD = "embedded"
"""A tag of a root to which Panel pushes nothing; what changes meanwhile is kept by its document."""


def in_kernels_turn(root: Any, doc: Any, comm: Any, later: Callable[[Callable[[], Any]], Any]) -> None:
    """In a notebook: what its browser sends is handled in the kernel's turns, and what was there first arrives first.

    Args:
        root: What a cell shows. A second call for it does nothing.
        later: Calls something in the kernel's next turn.
    """
    if comm is None or "init" in vars(comm):
        return
    root.tags = [*root.tags, _UNHEARD]
    opens = comm.init

    def begin() -> None:
        opens()
        root.tags = [tag for tag in root.tags if tag != _UNHEARD]
        _notebook.push(doc, comm)

    def opened() -> None:
        shown = pn.state._views.get(root.ref["id"])
        if shown is None:
            return  # the cell was run again meanwhile
        browser = shown[0]._comms[root.ref["id"]][1]
        browser._comm.on_msg(lambda message: later(partial(browser._handle_msg, message)))
        later(begin)

    comm.init = opened


def _in_session() -> bool:
    doc = pn.state.curdoc
    return bool(doc and doc.session_context and doc.session_context.server_context)


def _shared_style(cls: type[FileComponent]) -> Any:
    """The style that all share, as one object per document."""
    from bokeh.models import ImportedStyleSheet

    owner: Any = next(base for base in cls.__mro__ if "_shared" in vars(base))
    address = addresses(owner)[1][1]
    kept = cast("dict[Any, Any]", pn.state._stylesheets).setdefault(pn.state.curdoc, {})
    if address not in kept:
        kept[address] = ImportedStyleSheet(url=address)
    return kept[address]


def version(folder: Path) -> str:
    """Changes with any script or style of a folder. Read once, but at each call where one works on them (``--dev``)."""
    return _hash(folder) if pn.config.autoreload else _kept(folder)


def _hash(folder: Path) -> str:
    files = sorted([*folder.glob("*.js"), *folder.glob("*.css")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


_kept = cache(_hash)
