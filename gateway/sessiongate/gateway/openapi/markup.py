"""HTML of texts and values: whatever they contain is shown, never interpreted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape


def code(text: object) -> str:
    """Return text as code."""
    return f"<code>{escape(str(text), quote=False)}</code>"


def line(text: str) -> str:
    """Return text as HTML, with backquoted parts as code."""
    parts = escape(text, quote=False).split("`")
    return "".join(
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    )


def prose(text: str) -> str:
    """Return text as a paragraph, with backquoted parts as code."""
    return f"<p>{line(text)}</p>"


def link_to(anchor: str, label: str) -> str:
    """Return a link within the page; ``label`` is HTML."""
    return f'<a href="#{escape(anchor)}">{label}</a>'


def heading(level: int, anchor: str, title: str) -> str:
    """Return a heading that is a link to the section that it begins."""
    return f"<h{level}>{link_to(anchor, escape(title, quote=False))}</h{level}>"


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    """Return a table of rows that `row` made."""
    cells = "".join(f'<th scope="col">{title}</th>' for title in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def row(first: str, *others: str, anchor: str = "") -> str:
    """Return a row of cells of HTML, of which the first names the row."""
    name = f' id="{escape(anchor)}"' if anchor else ""
    cells = "".join(f"<td>{cell}</td>" for cell in others)
    return f'<tr{name}><th scope="row">{first}</th>{cells}</tr>'


def details_json(title: str, value: object) -> str:
    """Return a value as JSON that opens on demand."""
    text = escape(json.dumps(value, indent=2, ensure_ascii=False), quote=False)
    return f'<details><summary>{escape(title)}</summary><pre tabindex="0">{text}</pre></details>'
