"""What may be recommended for what: items for users, users for items, and what is similar."""

from __future__ import annotations

from typing import Literal, NamedTuple

Entity = Literal["user", "item"]
ModeName = Literal["items", "users", "similar-items", "similar-users"]


class Mode(NamedTuple):
    """The kind of the queries and of what each is recommended, and how pairs of them are scored.

    ``column`` is the column of the result that has the recommended ids. With ``cosine``, a score is the cosine of two
    rows of factors of one kind, biases left out; without, the score of a user and an item.
    """

    query: Entity
    result: Entity
    column: str
    cosine: bool


MODES: dict[ModeName, Mode] = {
    "items": Mode("user", "item", "item", cosine=False),
    "users": Mode("item", "user", "user", cosine=False),
    "similar-items": Mode("item", "item", "similar_item", cosine=True),
    "similar-users": Mode("user", "user", "similar_user", cosine=True),
}
