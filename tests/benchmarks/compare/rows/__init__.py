"""The rows, in the order of the table."""

from . import queues, workers, log, pages, programs  # noqa: F401, I001 - their order is the table's
