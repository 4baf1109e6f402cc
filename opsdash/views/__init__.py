"""What the operator sees: Panel views that show state and hand clicks on. No rules, no I/O."""

from __future__ import annotations

from opsdash.views.page import operations_page

__all__ = ["operations_page"]
