"""Small charts as inline SVG: the page's own colours by class, so that they are right in light and dark.

All text and numbers are escaped; nothing refers to anything outside.
"""

from collections.abc import Iterable, Sequence
from math import floor, isfinite, log10

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 210
"""Units of a chart; it is drawn as wide as there is room, so its text stays readable on a phone."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 36
_LABEL = 18
"""Characters of a heat map's label."""
SERIES = 6
"""How many series have a colour and a dash of their own."""


def interval_bar(
    value: float, low: float | None, high: float | None, reference: float | None, ends: tuple[float, float]
) -> Markup:
    """A value as a dot on its interval, beside a mark at the value it is compared with.

    Args:
        value: in percent.
        low: lower end of the interval, or None.
        high: upper end, or None.
        reference: for example the paper's value, or None.
        ends: values at the left and right end of the bar, shared by all bars that stand below each other.
    """
    width, height = 112, 16
    start, stop = ends

    def at(number: float) -> str:
        share = (number - start) / (stop - start) if stop > start else 0.5
        return f"{4 + (width - 8) * min(max(share, 0), 1):.1f}"

    parts = [f'<line class="track" x1="4" x2="{width - 4}" y1="8" y2="8"/>']
    said = f"{value:.2f}"
    if low is not None and high is not None:
        length = max(float(at(high)) - float(at(low)), 1)
        parts.append(f'<rect class="range" x="{at(low)}" y="5" width="{length:.1f}" height="6" rx="3"/>')
        said += f", 95 % interval {low:.2f} to {high:.2f}"
    if reference is not None:
        parts.append(f'<line class="reference" x1="{at(reference)}" x2="{at(reference)}" y1="1" y2="15"/>')
        said += f", the mark stands at {reference:.2f}"
    parts.append(f'<circle class="dot" cx="{at(value)}" cy="8" r="3"/>')
    return _svg("bar", width, height, parts, said)


def share_bar(share: float, said: str) -> Markup:
    """A share in [0, 1] as a filled bar."""
    filled = f'<rect class="full" width="{100 * share:.1f}" height="8" rx="4"/>' if share > 0 else ""
    return _svg("share", 100, 8, ['<rect class="empty" width="100" height="8" rx="4"/>', filled], said)


def histogram(parts: Sequence[Sequence[int]], edges: Sequence[float], x_title: str, most: int | None = None) -> Markup:
    """Counts between edges as columns, on an axis of numbers; several parts are stacked.

    Args:
        parts: counts of each part, one less than edges.
        edges: ascending.
        x_title: below the axis.
        most: the count at the top, so that several charts share an axis; None: their own.
    """
    totals = [sum(counts) for counts in zip(*parts, strict=True)]
    top = max(most or 0, *totals, 1)
    slot = (WIDTH - _LEFT - _RIGHT) / len(totals)
    drawn = [*_y_axis(0, top, whole=True)]
    for place in range(len(totals)):
        below = 0
        for number, counts in enumerate(parts):
            said = f"{edges[place]:.4g} to {edges[place + 1]:.4g}: {counts[place]}"
            drawn.append(_column(_LEFT + place * slot, slot, counts[place] / top, said, below / top, number))
            below += counts[place]
    ticks = range(0, len(edges), max(1, (len(edges) - 1) // 5))
    drawn += [_tick(_LEFT + tick * slot, f"{edges[tick]:.3g}") for tick in ticks]
    drawn.append(_x_title(x_title))
    peak = max(range(len(totals)), key=totals.__getitem__)
    most_at = f"{edges[peak]:.4g} to {edges[peak + 1]:.4g}"
    return _svg("chart", WIDTH, HEIGHT, drawn, f"Histogram of {sum(totals)} by {x_title}; most lie from {most_at}")


def columns(counts: Sequence[float], names: Sequence[str], x_title: str, most: float | None = None) -> Markup:
    """A column for each name."""
    top = max(most or 0, *counts, 1e-9)
    slot = (WIDTH - _LEFT - _RIGHT) / len(counts)
    parts = [*_y_axis(0, top)]
    for place, (name, count) in enumerate(zip(names, counts, strict=True)):
        parts.append(_column(_LEFT + place * slot, slot, count / top, f"{name}: {count:g}"))
        parts.append(_tick(_LEFT + (place + 0.5) * slot, name))
    parts.append(_x_title(x_title))
    said = "; ".join(f"{name}: {count:g}" for name, count in zip(names, counts, strict=True))
    return _svg("chart", WIDTH, HEIGHT, parts, f"{x_title}: {said}")


def lines(series: Sequence[tuple[str, Sequence[float], Sequence[float]]], x_title: str, y_title: str) -> Markup:
    """Curves over a shared axis; points that are no finite number are left out.

    Args:
        series: name, places from left to right, values.
        x_title: below the axis.
        y_title: what the values are, for screen readers.
    """
    finite = [
        (name, [point for point in zip(places, values, strict=True) if all(map(isfinite, point))])
        for name, places, values in series
    ]
    points = [point for _, known in finite for point in known]
    if not points:
        return Markup("")
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    bottom, top = _padded([y for _, y in points])
    parts = [*_y_axis(bottom, top)]
    for number, (name, known) in enumerate(finite):
        path = " ".join(f"{_across(x, left, right):.1f},{_down(y, bottom, top):.1f}" for x, y in known)
        style = f"line s{number % SERIES}"
        parts.append(f'<polyline class="{style}" points="{path}"><title>{escape(name)}</title></polyline>')
    parts += [_tick(_across(x, left, right), f"{x:,.0f}") for x in (left, (left + right) / 2, right)]
    parts.append(_x_title(x_title))
    said = "; ".join(f"{name}: {known[0][1]:.4g} to {known[-1][1]:.4g}" for name, known in finite if known)
    return _svg("chart", WIDTH, HEIGHT, parts, f"{y_title} over {x_title}. {said}")


def heat_map(shares: Sequence[Sequence[float]], names: Sequence[str], said: str) -> Markup:
    """A square of shares in [0, 1], rows and columns with the same names; the darker the more."""
    side, label = 18, 14 + 6.3 * min(max(map(len, names)), _LABEL)
    size = label + side * len(names) + 4
    parts = []
    for row, cells in enumerate(shares):
        parts.append(_label(label - 6, label + side * row + 13, names[row]))
        parts.append(
            _label(0, 0, names[row], f"translate({label + side * row + 13:.1f} {label - 6:.1f}) rotate(-90)", "start")
        )
        for column, share in enumerate(cells):
            place = (
                f'x="{label + side * column:.1f}" y="{label + side * row:.1f}" width="{side - 1}" height="{side - 1}"'
            )
            told = f"<title>{escape(names[row])} taken for {escape(names[column])}: {100 * share:.1f} %</title>"
            parts.append(f'<rect class="heat" rx="2" {place} fill-opacity="{0.06 + 0.94 * share:.3f}">{told}</rect>')
    return _svg("heatmap", size, size, parts, said)


# ---- parts


def _svg(kind: str, width: float, height: float, parts: Iterable[str], said: str) -> Markup:
    """The picture; ``parts`` are SVG already, ``said`` is any text."""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return Markup(f'<svg class="{kind}" {size} role="img" aria-label="{escape(said)}">{"".join(parts)}</svg>')


def _column(left: float, slot: float, share: float, said: str, below: float = 0, part: int = 0) -> str:
    """A column of a share of the chart's height, standing on what is below it."""
    height, foot = ((HEIGHT - _TOP - _BOTTOM) * part_of for part_of in (share, below))
    place = f'x="{left + 1:.1f}" y="{HEIGHT - _BOTTOM - foot - height:.1f}" width="{max(slot - 2, 1):.1f}"'
    return f'<rect class="column c{part}" {place} height="{height:.1f}"><title>{escape(said)}</title></rect>'


def _y_axis(bottom: float, top: float, whole: bool = False) -> Iterable[str]:
    """Lines across at about four round numbers."""
    for number in _round_numbers(bottom, top, whole):
        y = _down(number, bottom, top)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(number)}</text>'


def _short(number: float) -> str:
    if number >= 10_000:
        return f"{number / 1000:g}k"
    return f"{number:.0e}".replace("e-0", "e-") if 0 < abs(number) < 0.001 else f"{number:.4g}"


def _round_numbers(bottom: float, top: float, whole: bool) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between the ends."""
    raw = (top - bottom) / 5
    power = 10.0 ** floor(log10(raw)) if raw > 0 else 1.0
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    step = max(step, 1.0) if whole else step
    first, last = floor(bottom / step), floor(top / step)
    return [step * place for place in range(first, last + 1) if step * place >= bottom - 1e-12]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis: a little beyond the values."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin if low < 0 or low - margin > 0 else 0.0, high + margin


def _across(x: float, left: float, right: float) -> float:
    share = (x - left) / (right - left) if right > left else 0.5
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _down(y: float, bottom: float, top: float) -> float:
    share = (y - bottom) / (top - bottom) if top > bottom else 0.5
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _tick(x: float, text: str) -> str:
    anchor = "end" if x > WIDTH - 30 else "middle"
    return f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="{anchor}">{escape(text)}</text>'


def _x_title(text: str) -> str:
    return (
        f'<text class="axis" x="{(WIDTH + _LEFT) / 2:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{escape(text)}</text>'
    )


def _label(x: float, y: float, text: str, transform: str = "", anchor: str = "end") -> str:
    short = text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
    turned = f' transform="{transform}"' if transform else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{turned} text-anchor="{anchor}">{escape(short)}</text>'
