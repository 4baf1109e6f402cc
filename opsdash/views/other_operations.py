"""Operations that no other card offers, such as those of another package."""

from __future__ import annotations

from panel.viewable import Viewable

from opsdash.operation import registry
from opsdash.views.components import Card
from opsdash.views.design import button, line
from opsdash.views.placement import others
from opsdash.views.view import View


class OtherOperations(View):
    """A button for each, with its help."""

    def _build(self) -> Viewable:
        known = registry()
        given = others(self._session.role)
        buttons = [button(title, on_click=self._dialog.asks(known[name])) for name, title, _help in given]
        self.visible = bool(given)
        return Card(
            line(*buttons, margin=(0, 16, 16, 16)),
            title="Other Operations",
            lines=[["mute", f"{title}: {help_}"] for _name, title, help_ in given],
            theme=self.param.theme,
        )
