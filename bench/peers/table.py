"""Tables for the terminal, which are Markdown as well."""

from __future__ import annotations


def show(header: list[str], rows: list[list[str]]) -> None:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]

    def line(row: list[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    print(line(header), line(rule), *map(line, rows), sep="\n")


def number(value: float | None, digits: int = 3) -> str:
    """Rounded to so many digits that count, never in powers of ten."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    places = max(digits - len(str(int(abs(value)))), 0) if abs(value) >= 1 else digits - 1
    return f"{value:.{places}f}"
