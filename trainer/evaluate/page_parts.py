"""What the report pages share: numbers and names as they are shown."""

from __future__ import annotations

from typing import Any


def percent(value: float | None) -> float | None:
    """Per cent with two decimals, as a table shows it."""
    return None if value is None else round(100 * value, 2)


def with_interval(rate: dict[str, Any]) -> list[float | None]:
    """Value, low and high in per cent."""
    return [percent(rate["value"]), percent(rate["low"]), percent(rate["high"])]


def short(name: str, length: int = 26) -> str:
    """A name as it fits on an axis, its end kept; a dollar sign would start a formula there."""
    name = name if len(name) <= length else f"{name[: length - 10]}…{name[-9:]}"
    return name.replace("$", r"\$")


def by_shots(one: dict[str, Any]) -> dict[int, float]:
    """Mean accuracy in per cent by examples a class, ascending (JSON orders its keys as texts)."""
    curve = one["few_shot"]["shots"]
    return {int(count): 100 * curve[count]["mean"] for count in sorted(curve, key=int)}
