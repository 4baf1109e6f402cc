"""``opsdash demo``: a whole deployment on one machine, for looking at and playing with.

A broker, two Celery workers with the plug-in, beat, a producer of sample tasks, a migrated database with sample
tenants, and the page: `opsdash.demo.launch.run` starts it. The workers import this package, so nothing heavy is
imported here.
"""

QUEUES = ("celery", "emails")
APP = "opsdash.demo.tasks:app"
PREPARED = "prepared"
"""A file in the demo's TMPDIR: from now on the database has its tables, and the page may be served."""
MENDED = "mended"
"""A file in the data folder: while it is there, what the sample payments need answers, and they don't fail."""
