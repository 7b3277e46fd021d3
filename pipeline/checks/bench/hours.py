"""Prints the hours of the run whose settings are on stdin, as JSON: in a process of its own, with one thread."""

import json
import sys

from pipeline.checks.bench import suite
from pipeline.checks.bench.timed import one_thread

if __name__ == "__main__":
    one_thread()
    print(suite.hours(json.load(sys.stdin)))
