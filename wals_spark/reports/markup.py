"""HTML and SVG as trees of elements, in which all text is escaped when it is written."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Child = Element | str | None | Iterable["Child"]
"""An element, a text, nothing, or several of these."""


def el(tag: str, *children: Child, **attributes: object) -> Element:
    """An element. ``None`` among children or attributes is left out, and lists of children are flattened.

    Attributes are keywords: ``class_`` for class, ``stroke_width`` for stroke-width; floats have two decimals.

    Examples
    --------
    >>> written(el("p", "1 < 2, ", el("b", "always"), class_="law"))
    '<p class="law">1 &lt; 2, <b>always</b></p>'
    """
    element = Element(tag, {_name(name): _text(value) for name, value in attributes.items() if value is not None})
    for child in _flat(children):
        if isinstance(child, str):
            _append_text(element, child)
        else:
            element.append(child)
    return element


def written(element: Element) -> str:
    """The element as HTML."""
    return ElementTree.tostring(element, encoding="unicode", method="html")


def _name(keyword: str) -> str:
    return keyword.rstrip("_").replace("_", "-")


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _flat(children: Iterable[Child]) -> Iterable[Element | str]:
    for child in children:
        if isinstance(child, Element | str):
            yield child
        elif child is not None:
            yield from _flat(child)


def _append_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text
