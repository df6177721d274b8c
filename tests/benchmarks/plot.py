"""Results to a drawing: seconds over the number of collectors, both logarithmic, as SVG."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from statistics import median

from tests.benchmarks.results import BY_HAND, FLOOR, Results
from tests.benchmarks.tables import caption

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 46, 70

Point = tuple[int, tuple[float, ...]]  # a number of collectors → what was measured


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    color: str
    points: tuple[Point, ...]


def svg(results: Results) -> str:
    curves = [curve for curve in _curves(results) if curve.points]
    scale = _Scale.of(curves)
    parts = [*_grid(scale), *(part for curve in curves for part in _drawn(curve, scale))]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            _text(LEFT, 26, "From the start to the result, for collectors that do nothing", size=16),
            *parts,
            _text(LEFT, HEIGHT - 12, caption(results), size=9, color="#57606a"),
            "</svg>\n",
        ]
    )


def _curves(results: Results) -> Iterator[Curve]:
    lines = [line for line in results.lines if line.count is not None]
    ours = {line.count: line.ours for line in lines}
    yield Curve(
        "Celery by hand", "#cf222e", _points({line.count: line.theirs for line in lines if line.rival == BY_HAND})
    )
    yield Curve("this project", "#0969da", _points(ours))
    yield Curve("the floor", "#6e7781", _points({line.count: line.theirs for line in lines if line.rival == FLOOR}))


def _points(measured: dict[int | None, tuple[float, ...]]) -> tuple[Point, ...]:
    return tuple(sorted((count, seconds) for count, seconds in measured.items() if count))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Powers of ten that the axes begin and end with, and where a number and a time are between them."""

    first: int
    last: int
    shortest: int
    longest: int

    @classmethod
    def of(cls, curves: list[Curve]) -> "_Scale":
        counts = [math.log10(count) for curve in curves for count, _ in curve.points]
        seconds = [math.log10(each) for curve in curves for _, measured in curve.points for each in measured]
        return cls(math.floor(min(counts)), math.ceil(max(counts)), math.floor(min(seconds)), math.ceil(max(seconds)))

    def x(self, count: float) -> float:
        share = (math.log10(count) - self.first) / max(1, self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, seconds: float) -> float:
        share = (math.log10(seconds) - self.shortest) / max(1, self.longest - self.shortest)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(scale: _Scale) -> Iterator[str]:
    for power in range(scale.first, scale.last + 1):
        x = scale.x(10**power)
        yield _line(x, TOP, x, HEIGHT - BOTTOM, "#d0d7de")
        yield _text(x, HEIGHT - BOTTOM + 18, f"{10**power:,}", anchor="middle")
    for power in range(scale.shortest, scale.longest + 1):
        y = scale.y(10**power)
        yield _line(LEFT, y, WIDTH - RIGHT, y, "#d0d7de")
        yield _text(LEFT - 8, y + 4, f"{10**power:g} s", anchor="end")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 38, "collectors", anchor="middle")


def _drawn(curve: Curve, scale: _Scale) -> Iterator[str]:
    """A line through the medians, and at each a stroke from the least to the most."""
    medians = [(scale.x(count), scale.y(median(seconds))) for count, seconds in curve.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in medians)
    yield f'<polyline points="{path}" fill="none" stroke="{curve.color}" stroke-width="2"/>'
    for (x, y), (_, seconds) in zip(medians, curve.points, strict=True):
        yield _line(x, scale.y(min(seconds)), x, scale.y(max(seconds)), curve.color)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{curve.color}"/>'
    x, y = medians[-1]
    yield _text(x + 10, y + 4, curve.name, color=curve.color)


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", color: str = "#1f2328") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}">{escape(words)}</text>'
    )
