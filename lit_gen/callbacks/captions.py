"""Words on pictures: titles, and labels of a grid's rows and columns."""

from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from lit_gen.errors import printable

TEXT_SIZE = 14
TITLE_SIZE = 16
LEAST_TITLE_WIDTH = 400
"""Pixels; a title is wrapped at the width of its picture, and a narrower picture gets a margin on the right."""

MOST_LABEL_WIDTH = 260
_GAP = 6


def titled(picture: Image.Image, title: str) -> Image.Image:
    """The picture, unchanged, below a title.

    Args:
        picture: grey ("L") or colour ("RGB"), which the result is too.
        title: its first line is larger; lines too long for the picture are wrapped between words.
    """
    first, *others = printable(title).split("\n")
    width = max(picture.width, LEAST_TITLE_WIDTH)
    parts = [(first, _font(TITLE_SIZE)), *((line, _font(TEXT_SIZE)) for line in others)]
    lines = [(line, font) for text, font in parts for line in _wrapped(text, font, width - 2 * _GAP)]
    height = _GAP + sum(_line_height(font) for _, font in lines)
    canvas = _white(picture, width, height + picture.height)
    draw, top = ImageDraw.Draw(canvas), _GAP // 2
    for line, font in lines:
        draw.text((_GAP, top), line, fill=_ink(canvas), font=font)
        top += _line_height(font)
    canvas.paste(picture, (0, height))
    return canvas


def labelled(
    grid: Image.Image, num_columns: int, num_rows: int, rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> Image.Image:
    """A grid, unchanged, in the lower right corner, with labels to the left of its rows and above its columns.

    Where cells are too small for their labels, every so many have theirs.

    Args:
        grid: of cells of equal sizes.
        num_columns: cells in a row.
        num_rows: cells in a column.
        rows: a label for each row, "" for none; may have several lines.
        columns: a label for each column. One that "" follows may reach over the columns without labels.
    """
    font, draw = _font(TEXT_SIZE), ImageDraw.Draw(grid)
    cell_width, cell_height = grid.width / num_columns, grid.height / num_rows
    rows = [_shortened(printable(label), font, MOST_LABEL_WIDTH) for label in rows]
    columns = [printable(label) for label in columns]
    spans = _spans(columns)
    if len(spans) < len(columns):
        columns = [_shortened(label, font, spans.get(n, 0) * cell_width - _GAP) for n, label in enumerate(columns)]
    sizes = {label: _size(draw, label, font) for label in {*rows, *columns}}
    left = max((sizes[label][0] + 2 * _GAP for label in rows), default=0)
    top = max((sizes[label][1] + _GAP for label in columns), default=0)
    canvas = _white(grid, left + grid.width, top + grid.height)
    canvas.paste(grid, (left, top))
    draw = ImageDraw.Draw(canvas)
    for number in _shown([sizes[label][1] for label in rows], cell_height):
        middle = top + (number + 0.5) * cell_height
        draw.text((left - _GAP, middle), rows[number], fill=_ink(canvas), font=font, anchor="rm", align="right")
    alone = len(spans) == len(columns)
    for number in _shown([sizes[label][0] + _GAP for label in columns], cell_width) if alone else spans:
        place = (left + (number + 0.5) * cell_width, top - _GAP / 2)
        if spans[number] > 1:
            place = (left + number * cell_width + 2, top - _GAP / 2)
        anchor = "md" if spans[number] == 1 else "ld"
        draw.text(place, columns[number], fill=_ink(canvas), font=font, anchor=anchor, align="center")
    return canvas


def with_lines_beneath(rows: Sequence[Sequence[tuple[Image.Image, str]]]) -> Image.Image:
    """Rows of grey pictures of any sizes, each, unchanged, with a line of text beneath it, on white."""
    font = _font(TEXT_SIZE)
    widths = [
        max(max(picture.width, int(font.getlength(text)) + 1) for picture, text in column) + _GAP
        for column in zip(*rows, strict=True)
    ]
    heights = [max(picture.height for picture, _ in row) + _line_height(font) + _GAP for row in rows]
    canvas = Image.new("L", (sum(widths), sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        for column, (picture, text) in enumerate(row):
            left, top = sum(widths[:column]) + _GAP // 2, sum(heights[:number]) + _GAP // 2
            canvas.paste(picture, (left, top))
            draw.text((left, top + picture.height), text, fill=0, font=font)
    return canvas


def _spans(columns: Sequence[str]) -> dict[int, int]:
    """How many columns each label may reach over, by the number of its own."""
    starts = [number for number, label in enumerate(columns) if label]
    ends = [*starts[1:], len(columns)]
    return {start: end - start for start, end in zip(starts, ends, strict=True)} if starts else {}


def _shown(extents: Sequence[float], cell: float) -> range:
    """Numbers of the labels for which there is room."""
    every = max(1, -(-int(max(extents, default=1)) // max(1, int(cell))))
    return range(0, len(extents), every)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_shortened(line, font, width) for line in lines]


def _shortened(label: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    return "\n".join(_shortened_line(line, font, width) for line in label.split("\n"))


def _shortened_line(line: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…" if line else ""


def _size(draw: ImageDraw.ImageDraw, label: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    left, _, right, _ = draw.multiline_textbbox((0, 0), label, font=font)
    return int(right - left) + 1, (label.count("\n") + 1) * _line_height(font)


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    return round(1.3 * font.size)


def _white(like: Image.Image, width: int, height: int) -> Image.Image:
    return Image.new(like.mode, (width, height), "white")


def _ink(picture: Image.Image) -> int | tuple[int, int, int]:
    return 0 if picture.mode == "L" else (0, 0, 0)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of the charts, which has more scripts than Pillow's own."""
    import matplotlib  # slow to import, and only pictures need it

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
