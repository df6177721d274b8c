"""Celery tasks whose value depends on their arguments alone: what the properties and the cases build workflows of."""

from typing import Any

from celery import shared_task


@shared_task(name="pure.echo")
def echo(value: Any) -> Any:
    """The value itself."""
    return value


@shared_task(name="pure.echo_async")
async def echo_async(value: Any) -> Any:
    """The value itself, from a coroutine."""
    return value


@shared_task(name="pure.add")
def add(a: int, b: int = 1) -> int:
    """A sum."""
    return a + b


@shared_task(name="pure.greet")
def greet(name: str, *, country: str = "", mode: str = "", loud: bool = False) -> str:
    """A text from texts."""
    text = f"hello {name} {country} {mode}".strip()
    return text.upper() if loud else text


@shared_task(name="pure.gather_list")
def gather_list(values: list[Any], tag: str = "") -> list[Any]:
    """The values after a tag."""
    return [tag, *values]


@shared_task(name="pure.gather_count")
def gather_count(values: list[Any], outcomes: list[dict[str, Any]]) -> dict[str, int]:
    """How many values there are, and how many outcomes."""
    return {"values": len(values), "outcomes": len(outcomes)}


@shared_task(name="pure.gather_text")
def gather_text(values: list[Any]) -> str:
    """The values as one text."""
    return " ".join(map(str, values))


@shared_task(name="pure.stage_wrap", bind=True)
def stage_wrap(_self: Any, value: Any, label: str) -> dict[str, Any]:
    """The value before under a label, by a bound task."""
    return {label: value}


@shared_task(name="pure.stage_text")
def stage_text(value: Any) -> str:
    """The value before as text."""
    return str(value)


@shared_task(name="pure.nothing")
def nothing(*, note: str = "") -> None:
    """Takes nothing by position, and so can neither gather nor be a stage."""
