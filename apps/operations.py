"""The Operations page for ``panel serve apps/operations.py``. The environment configures it (``OPSDASH_…``)."""

from opsdash.web.server import page

page().servable()
