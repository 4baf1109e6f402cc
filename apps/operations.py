"""The Operations page for ``panel serve apps/operations.py``; the environment configures it (``OPSDASH_…``)."""

from opsdash.serving import shared_console
from opsdash.views import operations_page

operations_page(shared_console()).servable()
