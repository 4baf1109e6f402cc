"""An app of plain Celery."""

from celery import Celery

app = Celery("bench")


@app.task
def nothing():
    pass
