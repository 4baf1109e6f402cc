"""Workers: what they report, those without opsdash's plug-in, and Celery's remote control."""
