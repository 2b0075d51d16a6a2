"""The parts of charts in SVG: safe text, scales with round ticks, the frame; what a chart shows is in `charts`.

Everything is a string of SVG without ids, scripts and fonts, so that equal input gives equal bytes and a page may hold
any number. Colours are CSS variables of the page (``--c1`` to ``--c7``, ``--ink``, ``--faint``, ``--line`` and
``--paper``) with fallbacks, so that a page in dark mode sets its own.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

# User units. A panel of a page is 376 pixels wide on a screen and about 366 on a phone: a unit is about a pixel.
WIDTH = 376
LETTER = 12
LINE = 16
GAP = 8
NOTHING = "There is no value to show."
# After Okabe and Ito, for colour-blind readers; the light ones darker, so that each has a contrast of 3 on white.
_PALETTE = ("#0072B2", "#D55E00", "#008561", "#B8538F", "#A87000", "#3C99CF")
INK, FAINT, RULE = "var(--ink,currentColor)", "var(--faint,#767676)", "var(--line,#8886)"
HEAT = "var(--heat,#0072B2)"
COLORS = (*(f"var(--c{place},{color})" for place, color in enumerate(_PALETTE, 1)), f"var(--c7,{INK})")
PAPER = "var(--paper,Canvas)"
# What XML can't hold, and what turns the direction of the text after it.
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
# Widths of letters in em of a wide common font (DejaVu Sans); all others are 0.66.
_NARROW, _BROAD = frozenset("iIjlftr.,:;'|!()[]-/ "), frozenset("mwMWOQ@%&—…")


def safe(text: str) -> str:
    """Text from anywhere, ready to stand in an element or an attribute, on one line."""
    return escape(" ".join(_UNSAFE.sub("", str(text)).split()))


def text_width(text: str, size: float = LETTER) -> float:
    """How wide a text is at most, in user units; the browser decides on the font."""
    return size * sum(map(_letter_width, text))


def _letter_width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if letter.isascii() or letter in _BROAD:
        return 0.4 if letter in _NARROW else 1.0 if letter in _BROAD else 0.66
    return 1.1 if unicodedata.east_asian_width(letter) in "WF" else 0.75


def shortened(text: str, room: float, size: float = LETTER) -> str:
    """The text, or as much of it as fits into ``room`` user units with an ellipsis after it."""
    text = " ".join(_UNSAFE.sub("", str(text)).split())
    if text_width(text, size) <= room:
        return text
    left = room - text_width("…", size)
    end = 0
    while end < len(text) and text_width(text[: end + 1], size) <= left:
        end += 1
    return text[:end].rstrip() + "…"


def number(value: float) -> str:
    """A coordinate with at most two decimals."""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def figure(value: float) -> str:
    """A measured value as a reader wants it: three decimals, large ones with four digits."""
    return f"{value:z.3f}" if abs(value) < 100 else f"{value:.4g}"


def label(
    x: float,
    y: float,
    text: str,
    *,
    room: float = math.inf,
    anchor: str = "start",
    color: str = INK,
    bold: bool = False,
    turned: float = 0,
) -> str:
    """A line of text in ``room`` user units, its baseline at ``y``; what is shortened tells its whole on hover."""
    shown = shortened(text, room)
    whole = f"<title>{safe(text)}</title>" if shown.endswith("…") else ""
    extra = f' text-anchor="{anchor}"' if anchor != "start" else ""
    extra += ' font-weight="600"' if bold else ""
    extra += f' transform="rotate({number(turned)} {number(x)} {number(y)})"' if turned else ""
    style = "" if color == INK else f' style="fill:{color}"'
    return f'<text x="{number(x)}" y="{number(y)}"{extra}{style}>{whole}{safe(shown)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, *, color: str = RULE, width: float = 1, dash: str = "") -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = " ".join(f'{name}="{number(v)}"' for name, v in (("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)))
    return f'<line {ends} stroke-width="{number(width)}"{dashed} style="stroke:{color}"/>'


def dot(x: float, y: float, *, color: str, radius: float = 4, filled: bool = True) -> str:
    """A disc, or a ring where not ``filled``."""
    inside = color if filled else PAPER
    place = f'cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"'
    return f'<circle {place} stroke-width="1.6" style="fill:{inside};stroke:{color}"/>'


def box(x: float, y: float, width: float, height: float, *, color: str, opacity: float = 1) -> str:
    """A filled rectangle."""
    faint = f' fill-opacity="{number(opacity)}"' if opacity < 1 else ""
    size = f'width="{number(max(width, 0))}" height="{number(height)}"'
    return f'<rect x="{number(x)}" y="{number(y)}" {size}{faint} style="fill:{color}"/>'


def edge(x: float, y: float, width: float, height: float) -> str:
    """The outline of a rectangle."""
    place = f'x="{number(x + 0.5)}" y="{number(y + 0.5)}" width="{number(width - 1)}" height="{number(height - 1)}"'
    return f'<rect {place} fill="none" style="stroke:{RULE}"/>'


def specks(x: NDArray[np.floating], y: NDArray[np.floating], *, color: str, radius: float) -> str:
    """Many small discs as one path, in the order given, to a tenth of a unit."""
    places = "".join(f"M{across:.1f} {down:.1f}h0" for across, down in zip(x.tolist(), y.tolist(), strict=True))
    line = f'fill="none" stroke-linecap="round" stroke-opacity="0.7" stroke-width="{number(2 * radius)}"'
    return f'<path d="{places}" {line} style="stroke:{color}"/>'


def hover(tip: str, body: str, *, key: str = "") -> str:
    """Marks that tell ``tip`` when the pointer is on them; with a ``key`` a page can show more of them."""
    known = f' data-cell="{safe(key)}"' if key else ""
    return f"<g{known}><title>{safe(tip)}</title>{body}</g>"


def wrapped(text: str, room: float, *, most: int) -> list[str]:
    """The text in at most ``most`` lines, broken at blanks; the last one is cut where it does not fit."""
    lines: list[str] = []
    for word in " ".join(_UNSAFE.sub("", str(text)).split()).split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and (text_width(joined, LETTER) <= room or len(lines) == most):
            lines[-1] = joined
        else:
            lines.append(word)
    return [shortened(line, room) for line in lines]


def chart(title: str, body: str, *, height: float, known: str = "") -> str:
    """The whole chart: its title in at most two lines, and below it ``body``, drawn from 0 to ``height``.

    Parameters
    ----------
    known
        More attributes, by which a page knows a chart whose marks are more than a picture: it is then a group.
    """
    lines, role = wrapped(title, WIDTH, most=2), "group" if known else "img"
    top = 6 + LINE * len(lines)
    head = "".join(label(0, 13 + LINE * place, line, bold=True) for place, line in enumerate(lines) if line)
    whole = f"<title>{safe(title)}</title>" if any(line.endswith("…") for line in lines) else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {number(top + height)}" width="{WIDTH}" '
        f'role="{role}"{known} aria-label="{safe(title)}" font-family="system-ui,sans-serif" font-size="{LETTER}" '
        f'style="fill:{INK};max-width:100%">{whole}{head}<g transform="translate(0 {number(top)})">{body}</g></svg>'
    )


def sentence(title: str, text: str) -> str:
    """A chart that has nothing to show and says so."""
    lines = wrapped(text, WIDTH, most=4)
    body = "".join(label(0, 13 + LINE * place, line, color=FAINT) for place, line in enumerate(lines))
    return chart(title, body, height=8 + LINE * len(lines))


@dataclass(frozen=True)
class Scale:
    """Values ``low`` to ``high`` as places ``start`` to ``end`` of a chart; by their logarithm where ``log``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """The place of a value; values beyond the ends stand at the ends."""
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        # Halves, since the difference of the two largest floats is infinite.
        share = (at / 2 - low / 2) / (high / 2 - low / 2)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, *, most: int = 6) -> list[float]:
        """Round values between the ends, at most ``most`` of them."""
        return _powers(self.low, self.high, most) if self.log else _round_steps(self.low, self.high, most)

    def labelled(self, *, wide: bool) -> list[tuple[float, str]]:
        """Ticks with their texts, as many as fit beside each other (``wide``) or above each other."""
        for most in range(10, 0, -1):
            values = self.ticks(most=most)
            texts = tick_texts(values, log=self.log)
            places = [self.place(value) for value in values]
            # The left end of each text must be clear of the right end of the one before.
            size = [text_width(text) + 12 if wide else 1.3 * LINE for text in texts]
            gaps = [abs(b - a) - (m + n) / 2 for a, b, m, n in zip(places, places[1:], size, size[1:], strict=False)]
            if all(gap >= 0 for gap in gaps):
                return list(zip(values, texts, strict=True))
        return []


def spread(values: Sequence[float], *, start: float, end: float, log: bool = False, margin: float = 0.06) -> Scale:
    """The scale on which all ``values`` (at least one, finite; above 0 where ``log``) stand, with a margin."""
    low, high = min(values), max(values)
    if log:
        low, high = (min(max(value, 1e-300), 1e300) for value in (low, high))
        wider = max(10 ** (margin * (math.log10(high) - math.log10(low))), 1.2)
        return Scale(low / wider, high * wider, start, end, log=True)
    room = margin * (high / 2 - low / 2) * 2 or abs(low) * 0.05 or 0.05
    return Scale(max(low - room, -1.7e308), min(high + room, 1.7e308), start, end)


def _round_steps(low: float, high: float, most: int) -> list[float]:
    raw = (high / most - low / most) or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    for step in (factor * power for factor in (1, 2, 2.5, 5, 10, 20, 25, 50)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(k * step, 12 - math.floor(math.log10(step))) for k in range(first, last + 1)]
    return []


def _powers(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / most))
    powers = [10.0**e for e in range(first, last + 1, every) if -308 <= e <= 308]
    between = [f * 10.0**e for e in range(first - 1, last + 1) if -308 <= e < 308 for f in (1, 2, 5)]
    between = [value for value in between if low <= value * (1 + 1e-9) and value * (1 - 1e-9) <= high]
    if 2 <= len(between) <= most:
        return between
    return powers if len(powers) > 1 else _round_steps(low, high, min(most, 4))


def tick_texts(values: Sequence[float], *, log: bool = False) -> list[str]:
    """Ticks as text, all with the same number of decimals unless on a logarithmic scale or very large or small."""
    largest = max((abs(value) for value in values), default=0.0)
    if log or largest >= 1e6 or 0 < largest < 1e-3:
        return [f"{value:.6g}" for value in values]
    decimals = next((d for d in range(6) if all(abs(v - round(v, d)) < 1e-9 for v in values)), 6)
    return [f"{value:z,.{decimals}f}" for value in values]
