"""JSON documents with a checksum of their own, by which a reader tells whether one is as it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from wals_spark.errors import InputError


def sealed_json(document: Mapping[str, Any]) -> str:
    """The document as JSON, with ``sha256`` added."""
    return json.dumps({**document, "sha256": checksum(document)}, indent=2, ensure_ascii=False) + "\n"


def checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 of the JSON of a document without its ``sha256``, keys in order and without blanks."""
    others = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_sealed(text: str, where: str) -> dict[str, Any]:
    """The document that `sealed_json` wrote.

    Raises
    ------
    InputError
        If it is not as it was written; ``where`` is what the message names.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("sha256") != checksum(document):
        raise InputError(f"{where} is not as it was written: its own checksum differs")
    return document
