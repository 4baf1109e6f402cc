"""opsdash's own browser components, where Panel has none that serves: typed parameters, and no rules."""

from opsdash.views.kit.base import Component, Headed
from opsdash.views.kit.card import Card
from opsdash.views.kit.chart_card import ChartCard
from opsdash.views.kit.dialog import Dialog
from opsdash.views.kit.keyed_table import KeyedTable, RowAction
from opsdash.views.kit.masthead import Masthead
from opsdash.views.kit.messages import Messages
from opsdash.views.kit.shared import Figures, Rows, changes
from opsdash.views.kit.sparkline import sparkline
from opsdash.views.kit.status_strip import StatusStrip
from opsdash.views.kit.tabs import Tabs

__all__ = [
    "Card",
    "ChartCard",
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
