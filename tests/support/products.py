"""Products on Celery, as somebody has them: what is installed, the smallest project, and how a task is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from support.services import Valkey


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One of them.

    Attributes:
        page: Its page in ``docs``.
        requires: For pip, in an environment of its own.
        files: File → text. Everywhere ``@BROKER@``, ``@DATABASE@`` and ``@HOME@`` stand for what there is.
        environment: Variables of its worker and of whoever sends.
        prepare: Commands before anything else.
        send: Python that sends one task, and prints its id.
        queue: Where it waits. ``said``: what the preview of a pause tells of it.
    """

    page: str
    requires: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: str = ""
    send: str
    queue: str = "celery"
    said: str = ""

    def filled(self, text: str, valkey: Valkey, database: str, home: str) -> str:
        """A text of this product with the real addresses in it."""
        for name, here in {"@BROKER@": valkey.url, "@DATABASE@": database, "@HOME@": home}.items():
            text = text.replace(name, here)
        return text


TASKS = """
from celery import Celery

app = Celery("tasks", broker="@BROKER@")
app.conf.task_ignore_result = True


@app.task
def add(a, b):
    return a + b
"""
DJANGO = {
    "proj/__init__.py": 'from .celery import app as celery_app\n\n__all__ = ("celery_app",)\n',
    "proj/settings.py": """
SECRET_KEY = "for a test"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django_celery_beat", "django_celery_results", "demoapp",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "@HOME@/db.sqlite3"}}
USE_TZ = True
CELERY_BROKER_URL = "@BROKER@"
CELERY_RESULT_BACKEND = "django-db"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
""",
    "proj/celery.py": """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "demoapp/__init__.py": "",
    "demoapp/tasks.py": "from celery import shared_task\n\n\n@shared_task\ndef add(a, b):\n    return a + b\n",
    "manage.py": """
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
execute_from_command_line(sys.argv)
""",
}
FLASK = {
    "shop.py": """
from celery import Celery, Task, shared_task
from flask import Flask


def celery_init_app(app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def create_app():
    app = Flask(__name__)
    app.config.from_mapping(CELERY=dict(broker_url="@BROKER@", task_ignore_result=True))
    celery_init_app(app)
    return app


@shared_task
def add(a, b):
    return a + b
""",
    "make_celery.py": """
from shop import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
""",
}
FASTAPI = {
    "tasks.py": TASKS,
    "main.py": """
from fastapi import FastAPI
from tasks import add

app = FastAPI()


@app.post("/add")
def send(a: int, b: int):
    return {"id": add.delay(a, b).id}
""",
}
AIRFLOW = {
    "AIRFLOW_HOME": "@HOME@/airflow",
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CELERY__BROKER_URL": "@BROKER@",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    "AIRFLOW__CELERY__RESULT_BACKEND": "db+@DATABASE@",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "@DATABASE@",
}
SEND_AIRFLOW = (
    "from airflow.providers.celery.executors.celery_executor_utils import app;"
    " print(app.send_task({task!r}, args={args!r}, queue='default').id)"
)
PRETIX = """
[pretix]
instance_name=a test
url=http://localhost
datadir=@HOME@/data
[database]
backend=sqlite3
name=@HOME@/db.sqlite3
[django]
secret=for-a-test-and-nothing-else-for-a-test-and-nothing-else
[redis]
location=@BROKER@
[celery]
broker=@BROKER@
backend=@BROKER@
"""

PRODUCTS: Mapping[str, Product] = {
    "django": Product(
        page="with-django.md",
        requires=["django<6", "django-celery-beat", "django-celery-results", "celery[redis]"],
        files=DJANGO,
        prepare="python manage.py migrate -v 0",
        environment={"DJANGO_SETTINGS_MODULE": "proj.settings"},
        send="import django; django.setup(); from demoapp.tasks import add; print(add.delay(2, 2).id)",
    ),
    "fastapi": Product(
        page="with-fastapi.md",
        requires=["fastapi", "httpx", "celery[redis]"],
        files=FASTAPI,
        send="from fastapi.testclient import TestClient; from main import app;"
        " print(TestClient(app).post('/add?a=1&b=2').json()['id'])",
    ),
    "flask": Product(
        page="with-flask.md",
        requires=["flask", "celery[redis]"],
        files=FLASK,
        send="import make_celery, shop; print(shop.add.delay(1, 2).id)",
    ),
    "airflow": Product(
        page="with-airflow.md",
        requires=[
            "apache-airflow==3.3.*",
            "apache-airflow-providers-celery",
            "celery<5.7",
            "redis",
            "psycopg2-binary",
            "asyncpg",
        ],
        environment=AIRFLOW,
        prepare="airflow db migrate >airflow.log 2>&1",
        send=SEND_AIRFLOW.format(task="execute_workload", args=["{}"]),
        queue="default",
        said="a pause does not stop its scheduler's clock",
    ),
    "airflow 2": Product(
        page="with-airflow.md",
        requires=["apache-airflow[celery]==2.11.*", "celery<5.7", "redis", "psycopg2-binary", "setuptools<81"],
        environment=AIRFLOW,
        prepare="airflow db migrate >airflow.log 2>&1",
        send=SEND_AIRFLOW.format(
            task="airflow.providers.celery.executors.celery_executor_utils.execute_command",
            args=[["airflow", "tasks", "run", "a", "b", "c"]],
        ),
        queue="default",
        said="a pause does not stop its scheduler's clock",
    ),
    "superset": Product(
        page="with-superset.md",
        requires=["apache-superset==6.1.*", "celery<5.7", "kombu<5.7", "redis", "flask-caching<2.4"],
        files={
            "superset_config.py": """
SECRET_KEY = "for-a-test-and-nothing-else-for-a-test-and-nothing-else"
SQLALCHEMY_DATABASE_URI = "sqlite:///@HOME@/superset.db"


class CeleryConfig:
    broker_url = "@BROKER@"
    imports = ("superset.sql_lab", "superset.tasks.scheduler")
    result_backend = "@BROKER@"


CELERY_CONFIG = CeleryConfig
"""
        },
        environment={"PYTHONPATH": "@HOME@", "SUPERSET_CONFIG_PATH": "@HOME@/superset_config.py"},
        send="from superset.tasks.celery_app import app; print(app.send_task('reports.scheduler').id)",
    ),
    "pretix": Product(
        page="with-pretix.md",
        requires=["pretix==2026.8.*"],
        files={"pretix.cfg": PRETIX, "data/.keep": ""},
        environment={"PRETIX_CONFIG_FILE": "@HOME@/pretix.cfg", "DJANGO_SETTINGS_MODULE": "pretix.settings"},
        send="import django; django.setup(); from pretix.celery_app import app;"
        " print(app.send_task('pretix.base.services.mail.mail_send_task', queue='mail').id)",
        queue="mail",
    ),
}
