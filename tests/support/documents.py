"""Which pages' documents Bokeh takes for the current ones."""

from __future__ import annotations

from bokeh.io import doc

# Bokeh's ``patch_curdoc`` keeps them: to 3.9 in one list without a ``finally``, so that what a page was doing when it
# ended is every later test's document; from 3.10.2 on in a context variable that is always set back.


def current() -> tuple[object, ...]:
    """The documents of the code that runs now, the innermost last."""
    kept = doc._PATCHED_CURDOCS
    return tuple(kept if isinstance(kept, list) else kept.get())


def forget() -> None:
    """Leaves nothing of ended pages to the next test."""
    if isinstance(doc._PATCHED_CURDOCS, list):
        doc._PATCHED_CURDOCS.clear()
