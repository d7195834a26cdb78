"""Turns a matplotlib drawing into inline SVG: text stays text, colours follow the page, equal data give equal bytes.

Matplotlib is loaded here and nowhere else; it is an extra, so its absence is said in one line.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from spavl.errors import UserError

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise UserError("A report needs matplotlib, which is not installed. Run `pip install 'spavl[report]'`.") from error

__all__ = ["COLOURS", "Axes", "draw", "whole_ticks"]

WIDTH = 345
"""Units of a figure's width; on a phone one unit is about one pixel, so text of 10 units is legible there."""
COLOURS = {
    "paper": "#090909",
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "before": "#040404",
    "after": "#050505",
    "chosen": "#060606",
    "rejected": "#070707",
    "alarm": "#080808",
}
"""Name of a colour in the page's style sheet -> what stands for it while matplotlib draws."""
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spavl",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
}
_HEAD = re.compile(r"^.*?<svg[^>]*>|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(?:xlink:)?href="#([^"]+)"|url\(#([^)]+)\)')


def draw(name: str, title: str, description: str, height: float, paint: Callable[[Axes], None]) -> Markup:
    """Draws a figure.

    Args:
        name: Its name on the page; no two figures share one.
        title: What it shows, for a reader who does not see it.
        description: The same with its figures.
        height: Units; the width is fixed.
        paint: Paints into the axes.
    """
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph"
        )  # the reader's browser has the letters, whatever this font has
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout=layout)
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(buffer.getvalue(), name, title, description, height))


def whole_ticks(axes: Axes) -> None:
    """Puts ticks of the horizontal axis at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _inline(svg: str, name: str, title: str, description: str, height: float) -> str:
    """Leaves out what only a file needs, gives ids the figure's name, and names the colours."""
    body = _HEAD.sub("", svg)
    body = _ID.sub(lambda match: f'id="{name}-{match[1]}"', body)
    body = _REFERENCE.sub(lambda match: f'href="#{name}-{match[1]}"' if match[1] else f"url(#{name}-{match[2]})", body)
    for colour, stand_in in COLOURS.items():
        body = body.replace(stand_in, f"var(--{colour})")
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-labelledby="{name}-title" aria-describedby="{name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>{body}'
    )
