"""Events: what a line of the log is, and that one thing has one name in all of them."""

import ast
import io
from pathlib import Path
from typing import Any

import msgspec

import alcor
from alcor.runtime.event_log import EventLog, Fields

TELLING = {"debug", "info", "warning", "error", "about"}


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    read = [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]
    return [{name: value for name, value in line.items() if name != "at_us"} for line in read]


def test_an_event_is_a_line_with_its_name_and_fields() -> None:
    stream = io.StringIO()
    log = EventLog(stream=stream)
    log.debug("not_said", reason="it is below the level")
    log.warning("agent_left", host_id="h1", reason="closed")
    assert lines(stream) == [{"level": "warning", "event": "agent_left", "host_id": "h1", "reason": "closed"}]


def test_a_log_about_something_says_so_of_each_event_unless_the_event_says_otherwise() -> None:
    stream = io.StringIO()
    log = EventLog(stream=stream).about(host_id="h1", by="h1").about(by="h2")
    log.debug("not_said")
    log.info("switch_lost", reason="closed")
    log.info("switch_fenced", by="h3")
    assert [(line["host_id"], line["by"], line.get("reason")) for line in lines(stream)] == [
        ("h1", "h2", "closed"),
        ("h1", "h3", None),
    ]


def test_fields_are_all_that_events_have_and_no_more() -> None:
    used = {
        name
        for path in Path(alcor.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _fields_in(node)
    }
    assert used == set(Fields.__annotations__)


def _fields_in(node: ast.AST) -> list[str]:
    """Name the fields that a call gives an event, or keeps for one."""
    match node:
        case ast.Call(func=ast.Attribute(value=log, attr=method)) if method in TELLING and _is_log(log):
            return [keyword.arg for keyword in node.keywords if keyword.arg is not None]
        case ast.Call(func=ast.Name(id="Fields")):
            return [keyword.arg for keyword in node.keywords if keyword.arg is not None]
    return []


def _is_log(node: ast.expr) -> bool:
    """Does this give a log: a name that says so, or what is made of one?"""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.endswith("log")
        case ast.Call(func=ast.Attribute(value=log, attr="about")):
            return _is_log(log)
    return False
