"""In a notebook with ``inline`` no widget of Panel's asks a CDN for its styles, however late it comes."""

from __future__ import annotations

import sys

import pytest
from support import programs

# A new process, because one that has imported panel-material-ui has other widgets under Panel's names.
SCRIPT = """
import sys
import panel as pn
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet
from pyviz_comms import Comm
from opsdash.views.components import Dialog

with pn.config.set(inline=sys.argv[1] == "inline"):
    dialog = Dialog()
    roots = [dialog.get_root(Document(), Comm()) for _ in range(2)]
    dialog.objects = [pn.widgets.TextInput(label="Reason")]
    for root in roots:
        (field,) = root.data.objects
        print(len(list(field.select({"type": ImportedStyleSheet}))))
"""


@pytest.mark.long
@pytest.mark.parametrize(("mode", "asks"), [("inline", False), ("cdn", True)])
def test_a_field_that_comes_later_has_its_styles_in_it(mode: str, asks: bool) -> None:
    run = programs.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
    assert [int(imported) > 0 for imported in run.stdout.split()] == [asks, asks]
