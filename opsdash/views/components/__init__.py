"""opsdash's own browser components, where Panel has none that serves: typed parameters, and no rules."""

from opsdash.views.components.base import Component, Headed
from opsdash.views.components.card import Card
from opsdash.views.components.dialog import Dialog
from opsdash.views.components.keyed_table import KeyedTable, RowAction
from opsdash.views.components.masthead import Masthead
from opsdash.views.components.messages import Messages
from opsdash.views.components.shared import Figures, Rows, changes
from opsdash.views.components.sparkline import sparkline
from opsdash.views.components.status_strip import StatusStrip
from opsdash.views.components.tabs import Tabs

__all__ = [
    "Card",
    "Component",
    "Dialog",
    "Figures",
    "Headed",
    "KeyedTable",
    "Masthead",
    "Messages",
    "RowAction",
    "Rows",
    "StatusStrip",
    "Tabs",
    "changes",
    "sparkline",
]
