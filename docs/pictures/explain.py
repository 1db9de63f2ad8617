"""Draw the pictures of docs/explanation: plain SVG that is readable on light and dark pages and needs no fonts.

python docs/pictures/explain.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = """
svg { font-family: system-ui, sans-serif; font-size: 14px }
.ground { fill: #ffffff; stroke: #d0d7de }
text { fill: #1f2328 }
.small { font-size: 12px; fill: #57606a }
.title { font-weight: 600 }
.box { fill: #f6f8fa; stroke: #8c959f }
.teacher { fill: #ddf4ff; stroke: #0969da }
.student { fill: #fff1e5; stroke: #bc4c00 }
.self { fill: #fbefff; stroke: #8250df }
.copied { stroke-width: 2.5 }
.line { fill: none; stroke: #57606a; stroke-width: 1.5 }
.match { fill: none; stroke: #1a7f37; stroke-width: 2 }
.average { fill: none; stroke: #8250df; stroke-width: 2; stroke-dasharray: 5 4 }
.train { fill: none; stroke: #bc4c00; stroke-width: 2 }
.dev { fill: none; stroke: #0969da; stroke-width: 2; stroke-dasharray: 6 4 }
.level { fill: none; stroke: #57606a; stroke-width: 1; stroke-dasharray: 2 3 }
.head { fill: #57606a } .matchhead { fill: #1a7f37 } .averagehead { fill: #8250df }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117; stroke: #30363d }
text { fill: #e6edf3 }
.small { fill: #9198a1 }
.box { fill: #161b22; stroke: #6e7681 }
.teacher { fill: #0c2d6b; stroke: #58a6ff }
.student { fill: #5a1e02; stroke: #f0883e }
.self { fill: #3c1e70; stroke: #bc8cff }
.line { stroke: #9198a1 }
.match { stroke: #3fb950 }
.average { stroke: #bc8cff }
.train { stroke: #f0883e }
.dev { stroke: #58a6ff }
.level { stroke: #9198a1 }
.head { fill: #9198a1 } .matchhead { fill: #3fb950 } .averagehead { fill: #bc8cff }
}
"""
"""Both sets of colours come with a ground of their own, so the picture is readable whatever the page around it does."""

Point = tuple[float, float]


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """Words, centred on x unless `anchor` says otherwise; y is the base line."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{named}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, words: str, kind: str = "box") -> str:
    """A box with words in its middle."""
    shape = f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
    return shape + text(x + width / 2, y + height / 2 + 5, words)


def arrow(start: Point, end: Point, kind: str = "line") -> str:
    """A straight arrow; `match` compares, `average` averages."""
    head = {"match": "matchhead", "average": "averagehead"}.get(kind, "head")
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    back = (end[0] - 8 * math.cos(angle), end[1] - 8 * math.sin(angle))
    sides = [
        f"{end[0] - 9 * math.cos(angle + turn):.1f},{end[1] - 9 * math.sin(angle + turn):.1f}" for turn in (0.45, -0.45)
    ]
    line = f'<path class="{kind}" d="M{start[0]:g} {start[1]:g} L{back[0]:.1f} {back[1]:.1f}"/>'
    return line + f'<polygon class="{head}" points="{end[0]:g},{end[1]:g} {" ".join(sides)}"/>'


def curve(points: Iterable[Point], kind: str) -> str:
    """A line through points."""
    return f'<path class="{kind}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def picture(name: str, width: int, height: int, label: str, parts: Sequence[str]) -> None:
    """Write a picture; `label` is what a screen reader reads."""
    body = "\n".join(parts)
    Path(__file__).with_name(f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(label)}">\n<style>{STYLE}</style>\n'
        f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>\n{body}\n</svg>\n',
        encoding="utf-8",
    )


# -- which layers


def layers(x: float, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """A teacher of six layers beside a student of three; `pairs` of layers are compared."""
    parts = [text(x + 60, 62, "teacher", "title"), text(x + 250, 62, "student", "title")]
    parts += [box(x, 292 - 36 * layer, 120, 28, f"layer {layer}", "teacher") for layer in range(1, 7)]
    parts += [box(x + 190, 292 - 36 * layer, 120, 28, f"layer {layer}", "student") for layer in range(1, 4)]
    parts += [arrow((x + 122, 306 - 36 * there), (x + 188, 306 - 36 * here), "match") for there, here in pairs]
    return parts


def draw_layers() -> None:
    """All layers against the last one."""
    picture(
        "explain-layers", 760, 330,
        "Layer distillation: on the left every student layer imitates a teacher layer, on the "
        "right only the last one does",
        [
            text(195, 32, "all layers (uniform)", "title"), text(565, 32, "last layer (CR-ILD)", "title"),
            *layers(40, [(2, 1), (4, 2), (6, 3)]), *layers(410, [(6, 3)]),
            text(195, 316, "three targets: each layer has its own", "small"),
            text(565, 316, "one target: the layers below it are free", "small"),
        ],
    )  # fmt: skip


# -- mixed inputs


def draw_mixup() -> None:
    """Two tickets become one input of both models."""
    picture(
        "explain-mixup", 760, 300,
        "Mixup: the embeddings of two texts are averaged with weights lambda and one minus lambda; teacher and student "
        "both read the mixture, and the student imitates the teacher on it",
        [
            box(20, 50, 190, 44, "x: where is my parcel"), box(20, 190, 190, 44, "x′: charged me twice"),
            text(115, 118, "embeddings e(x)", "small"), text(115, 182, "embeddings e(x′)", "small"),
            arrow((212, 72), (268, 130)), arrow((212, 212), (268, 156)),
            text(252, 92, "· λ", "title"), text(264, 206, "· (1 − λ)", "title"),
            box(270, 121, 170, 44, "λ·e(x) + (1 − λ)·e(x′)"), text(355, 186, "one mixed input", "small"),
            arrow((442, 134), (518, 82)), arrow((442, 152), (518, 206)),
            box(520, 50, 130, 60, "teacher", "teacher"), box(520, 180, 130, 60, "student", "student"),
            arrow((585, 112), (585, 178), "match"), text(597, 150, "imitate", "small", "start"),
            text(
                380, 278,
                "New inputs in every step: what is learnt on them cannot be "
                "a memory of single texts.",
                "small",
            ),
        ],
    )  # fmt: skip


# -- self-teacher and consistency


def draw_consistency() -> None:
    """The student on the mixture against its own moving average on the two inputs."""
    picture(
        "explain-consistency", 760, 320,
        "Consistency: the student reads the mixed input, the self-teacher, which is the moving "
        "average of the student, reads "
        "each of the two inputs; the student's activations are pulled towards both, with weights "
        "lambda and one minus lambda",
        [
            box(20, 138, 150, 44, "mixed input"), box(590, 50, 150, 44, "input x"), box(590, 226, 150, 44, "input x′"),
            box(220, 130, 130, 60, "student", "student"), box(420, 130, 130, 60, "self-teacher", "self"),
            arrow((172, 160), (218, 160)), arrow((588, 82), (540, 128)), arrow((588, 238), (540, 192)),
            arrow((352, 160), (418, 160), "average"), text(385, 106, "moving average", "small"),
            text(385, 122, "of its weights", "small"),
            box(395, 40, 150, 36, "S′(x)", "self"), box(395, 246, 150, 36, "S′(x′)", "self"),
            arrow((470, 128), (470, 78)), arrow((470, 192), (470, 244)),
            box(210, 40, 120, 36, "S(mixed)", "student"), box(210, 246, 120, 36, "S(mixed)", "student"),
            arrow((270, 128), (270, 78)), arrow((270, 192), (270, 244)),
            arrow((332, 58), (393, 58), "match"), arrow((332, 264), (393, 264), "match"),
            text(362, 48, "λ", "title"), text(362, 254, "1 − λ", "title"),
            text(
                380, 306,
                "The penalty is small if the student does on the mixture "
                "what its average does on the parts.",
                "small",
            ),
        ],
    )  # fmt: skip


# -- what overfitting looks like


def panel(x: float, title: str, curves: Sequence[tuple[str, Callable[[float], float]]]) -> list[str]:
    """A panel of 220 × 150 with curves over training, each a function from 0..1 to 0..1."""
    frame = f'<path class="line" d="M{x:g} 60 V210 H{x + 215:g}"/>'
    lines = [
        curve([(x + 215 * step / 40, 210 - 150 * shape(step / 40)) for step in range(41)], kind)
        for kind, shape in curves
    ]
    return [text(x, 48, title, "title", "start"), frame, *lines]


def draw_overfitting() -> None:
    """Sketches of the three panels of Live for a student that overfits."""
    picture(
        "explain-overfitting", 760, 290,
        "Sketches: the training loss keeps falling while the loss on dev turns up; the consistency term falls at "
        "first and rises again slowly; the dev "
        "metric reaches a peak and falls while that on training examples keeps rising",
        [
            text(380, 24, "Sketches of a student that overfits, not measurements", "small"),
            *panel(20, "loss", [
                ("train", lambda t: 0.06 + 0.86 * math.exp(-4.5 * t)),
                ("dev", lambda t: 0.3 + 0.6 * math.exp(-6 * t) + 0.42 * t**2),
            ]),
            *panel(270, "consistency", [
                ("train", lambda t: 0.15 + 0.5 * math.exp(-9 * t) + 0.25 * t),
            ]),
            *panel(520, "dev metric", [
                ("level", lambda _: 0.93), ("level", lambda _: 0.15),
                ("train", lambda t: 0.2 + 0.76 * (1 - math.exp(-4 * t))),
                ("dev", lambda t: 0.2 + 0.58 * (1 - math.exp(-7 * t)) - 0.2 * t**2),
            ]),
            text(526, 66, "teacher", "small", "start"), text(735, 205, "majority", "small", "end"),
            curve([(210, 262), (250, 262)], "train"), text(258, 267, "training examples", "small", "start"),
            curve([(420, 262), (460, 262)], "dev"), text(468, 267, "dev", "small", "start"),
            text(127, 232, "time", "small"), text(377, 232, "time", "small"), text(627, 232, "time", "small"),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    draw_layers()
    draw_mixup()
    draw_consistency()
    draw_overfitting()
