"""A driver's side: a line of JSON names a function and its arguments, a line answers. Runs in the rival's Python."""

import json
import sys
import time


def serve(functions):
    """Until the other side has ended."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        name, args = json.loads(line)
        try:
            answer = {"value": functions[name](*args)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side says so
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def ms(act):
    """Milliseconds of a call."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000
