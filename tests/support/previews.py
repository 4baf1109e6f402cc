"""What a preview says, as a person reads it."""

from __future__ import annotations

from opsdash.model import Preview


def texts(preview: Preview) -> tuple[str, ...]:
    """Its lines without their kind, as the operation has them."""
    return tuple(line.text for line in preview.lines)
