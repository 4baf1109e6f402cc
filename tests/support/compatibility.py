"""Runs what depends on a server or an interpreter with other ones, and prints what docs/compatibility.md is made of.

PYTHONPATH=tests python -m support.compatibility --redis-server /path/to/redis-server
PYTHONPATH=tests python -m support.compatibility --postgres /path/to/bin
PYTHONPATH=tests python -m support.compatibility --celery                    # this Celery and its redis
PYTHONPATH=tests python -m support.compatibility                             # this interpreter and all its libraries

Several of them at once run the tests of each, once. ``--all`` runs all tests with the servers that are named.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REDIS = [
    "tests/contract",
    "tests/chaos/test_failed_kills.py",
    "tests/chaos/test_queue_kills.py",
    "tests/integration/test_approval.py",
    "tests/integration/test_audit_outbox.py",
    "tests/integration/test_brief_snapshot.py",
    "tests/integration/test_cancel_workflow.py",
    "tests/integration/test_clear_everything.py",
    "tests/integration/test_clear_tasks.py",
    "tests/integration/test_clear_tenant.py",
    "tests/integration/test_cli.py",
    "tests/integration/test_cli_audit.py",
    "tests/integration/test_cli_confirming.py",
    "tests/integration/test_concurrency_limits.py",
    "tests/integration/test_doctor.py",
    "tests/integration/test_doctor_redis.py",
    "tests/integration/test_failed.py",
    "tests/integration/test_failed_tasks.py",
    "tests/integration/test_find_task.py",
    "tests/integration/test_foreign_values.py",
    "tests/integration/test_full_redis.py",
    "tests/integration/test_held_by_workers.py",
    "tests/integration/test_hold_deliveries.py",
    "tests/integration/test_hold_tasks.py",
    "tests/integration/test_large_values.py",
    "tests/integration/test_layout.py",
    "tests/integration/test_lost_lock.py",
    "tests/integration/test_notifications.py",
    "tests/integration/test_pause_cycle.py",
    "tests/integration/test_pause_expiry.py",
    "tests/integration/test_pause_foreign_values.py",
    "tests/integration/test_pause_last_look.py",
    "tests/integration/test_pause_outages.py",
    "tests/integration/test_pause_queue_expiry.py",
    "tests/integration/test_pause_stops.py",
    "tests/integration/test_pause_topologies.py",
    "tests/integration/test_pause_workflows.py",
    "tests/integration/test_poison.py",
    "tests/integration/test_rate_limits.py",
    "tests/integration/test_refusals.py",
    "tests/integration/test_remove_held.py",
    "tests/integration/test_retry_failed.py",
    "tests/integration/test_rights.py",
    "tests/integration/test_runs.py",
    "tests/integration/test_schedules.py",
    "tests/integration/test_single_targets.py",
    "tests/integration/test_task_expires.py",
    "tests/integration/test_tenant_sync.py",
    "tests/integration/test_time_in_queue.py",
    "tests/integration/test_undo_is_true.py",
    "tests/integration/test_unfinished_restores.py",
    "tests/integration/test_verified_pause.py",
    "tests/integration/test_worker_drain.py",
    "tests/integration/test_worker_health.py",
    "tests/property/test_hold_machine.py",
    "tests/property/test_put_back.py",
    "tests/property/test_queue_machine.py",
]
POSTGRES = [
    "tests/integration/test_audit_attempts.py",
    "tests/integration/test_audit_reading.py",
    "tests/integration/test_audit_chain.py",
    "tests/integration/test_audit_outbox.py",
    "tests/integration/test_console.py",
    "tests/integration/test_migrations.py",
    "tests/integration/test_tenant_sources.py",
    "tests/integration/test_tenant_sync.py",
    "tests/integration/test_upgrades.py",
]
CELERY = [
    "tests/integration/test_cancel_workflow.py",
    "tests/integration/test_celery_fixtures.py",
    "tests/integration/test_concurrency_limits.py",
    "tests/integration/test_failed.py",
    "tests/integration/test_failed_tasks.py",
    "tests/integration/test_find_task.py",
    "tests/integration/test_held_by_workers.py",
    "tests/integration/test_hold_deliveries.py",
    "tests/integration/test_hold_tasks.py",
    "tests/integration/test_layout.py",
    "tests/integration/test_pause_cycle.py",
    "tests/integration/test_pause_green.py",
    "tests/integration/test_pause_last_look.py",
    "tests/integration/test_pause_remote_control.py",
    "tests/integration/test_pause_stops.py",
    "tests/integration/test_pause_topologies.py",
    "tests/integration/test_pause_worker_stops.py",
    "tests/integration/test_pause_workflows.py",
    "tests/integration/test_poison.py",
    "tests/integration/test_rate_limits.py",
    "tests/integration/test_retry_with_workers.py",
    "tests/integration/test_runs.py",
    "tests/integration/test_schedules.py",
    "tests/integration/test_schedules_django.py",
    "tests/integration/test_task_expires.py",
    "tests/integration/test_time_in_queue.py",
    "tests/integration/test_worker_drain.py",
    "tests/integration/test_worker_health.py",
    "tests/integration/test_worker_pools.py",
    "tests/integration/test_worker_tasks.py",
]
PYTHON = [
    "tests/unit",
    "tests/api",
    "tests/integration/test_demo.py",
    "tests/integration/test_package.py",
    *REDIS,
    *POSTGRES,
    *CELERY,
]


def main() -> int:
    """Runs them; the exit code is pytest's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis-server", type=Path, help="A redis-server or valkey-server.")
    parser.add_argument("--postgres", type=Path, help="A folder with initdb and postgres.")
    parser.add_argument("--celery", action="store_true", help="Tests with workers.")
    parser.add_argument("--all", action="store_true", help="All tests of these lists, also where a server is named.")
    parser.add_argument("--marks", default="not slow", help='As pytest\'s -m; without it "not slow".')
    chosen = parser.parse_args()
    environment = {**os.environ, "OPSDASH_REQUIRE": "valkey,postgres"}
    tests, versions = [], [f"Python {platform.python_version()}"]
    if chosen.redis_server:
        environment["OPSDASH_TEST_REDIS_SERVER"] = str(chosen.redis_server)
        tests, versions = REDIS, [*versions, version(chosen.redis_server)]
    if chosen.postgres:
        environment["OPSDASH_TEST_POSTGRES"] = str(chosen.postgres)
        tests, versions = [*tests, *POSTGRES], [*versions, version(chosen.postgres / "postgres")]
    if chosen.celery:
        tests = [*tests, *CELERY]
    if chosen.all or not tests:
        tests = PYTHON
    versions += [f"{name} {importlib.metadata.version(name)}" for name in ("celery", "kombu", "redis", "sqlalchemy")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", chosen.marks]
    command += dict.fromkeys(tests)
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    ending = re.sub(r"=+", "", done.stdout.strip().splitlines()[-1]).strip()
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d} · {' · '.join(versions)} · {ending}")
    return done.returncode


def version(program: Path) -> str:
    """What a server says of itself, in short."""
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    said = f"{program.name} {output}".lower()  # Valkey 7.2 calls itself "Server"
    name = "PostgreSQL" if "postgresql" in said else "Valkey" if "valkey" in said else "Redis"
    number = re.search(r"v=(\S+)|(\d+\.[\d.]+)", output)
    return f"{name} {number[1] or number[2]}" if number else output.strip()


if __name__ == "__main__":
    sys.exit(main())
