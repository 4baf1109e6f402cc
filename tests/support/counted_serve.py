"""``opsdash serve`` that writes down, on SIGUSR1, how many of a session's objects live. Arguments: port, file."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bokeh.document import Document

from opsdash.bootstrap import connect
from opsdash.views.session import Session
from opsdash.web.server import serve

COUNTED = (Document, Session)


def main(port: int, file: Path) -> None:
    def count(_signum: int, _frame: Any) -> None:
        gc.collect()
        found = Counter({kind.__name__: 0 for kind in COUNTED})
        for thing in gc.get_objects():
            found.update(kind.__name__ for kind in COUNTED if isinstance(thing, kind))
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(found))
        os.replace(draft, file)

    signal.signal(signal.SIGUSR1, count)
    serve(connect(), port=port, unused_session_ms=3_000, ready=lambda url: print(url, flush=True))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
