"""Counts the Python steps of the project's own code while something runs."""

import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

OWN = tuple(str(Path(__file__).parents[2] / package) for package in ("engine", "connectors"))


def watched(install: Callable[[Any], None], everywhere: Callable[[Any], None], tracer: Any, go: Any) -> None:
    """Run with a tracer in this thread and in those that start meanwhile."""
    everywhere(tracer)
    install(tracer)
    try:
        go()
    finally:
        install(None)
        everywhere(None)


def calls_of(go: Callable[[], Any]) -> Counter[str]:
    """Count the calls of our functions, and of built-in ones from them."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(OWN):
            calls[frame.f_code.co_qualname] += 1

    watched(sys.setprofile, threading.setprofile, count, go)
    return calls


def queries_of(go: Callable[[], Any]) -> int:
    """Count the queries that Polars is asked, by whatever method of it."""
    queries = 0

    def count(frame: FrameType, event: str, called: Any) -> None:
        nonlocal queries
        if event == "c_call" and getattr(called, "__qualname__", "") == "PyLazyFrame.collect":
            queries += 1

    watched(sys.setprofile, threading.setprofile, count, go)
    return queries


def lines_of(go: Callable[[], Any]) -> Counter[str]:
    """Count the lines of our functions, every time they run."""
    lines: Counter[str] = Counter()

    def enter(frame: FrameType, event: str, _: object) -> Any:
        return step if frame.f_code.co_filename.startswith(OWN) else None

    def step(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            lines[frame.f_code.co_qualname] += 1
        return step

    watched(sys.settrace, threading.settrace, enter, go)
    return lines
