"""opsdash's own browser components, where Panel has none that serves: typed parameters, and no rules."""

from opsdash.views.kit.base import Component, Headed
from opsdash.views.kit.card import Card
from opsdash.views.kit.keyed_table import KeyedTable, RowAction
from opsdash.views.kit.shared import Figures, Rows, changes

__all__ = ["Card", "Component", "Figures", "Headed", "KeyedTable", "RowAction", "Rows", "changes"]
