"""What RQ's workers run."""

import time

from rq import get_current_job


def nothing(*_):
    pass


def short(seconds):
    get_current_job().connection.rpush("started", time.time())
    time.sleep(seconds)
