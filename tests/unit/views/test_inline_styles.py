"""In a notebook with ``inline`` no widget of Panel's asks a CDN for its styles, however late it comes."""

from __future__ import annotations

import panel as pn
import pytest
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet
from pyviz_comms import Comm

from opsdash.views.components import Dialog


def imported(root: object) -> list[str]:
    return [sheet.url for sheet in root.select({"type": ImportedStyleSheet})]  # type: ignore[attr-defined]


@pytest.mark.parametrize("inline", [True, False])
def test_a_field_that_comes_later_has_its_styles_in_it(inline: bool) -> None:
    with pn.config.set(inline=inline):
        dialog = Dialog()
        roots = [dialog.get_root(Document(), Comm()) for _ in range(2)]
        dialog.objects = [pn.widgets.TextInput(label="Reason")]
        for root in roots:
            (field,) = root.data.objects
            assert bool(imported(field)) is not inline
