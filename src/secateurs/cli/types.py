"""Types of options: numbers, lists of numbers, lists of words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class TextType(click.ParamType):
    """A type whose values a function parses from text; values that are not text stay unchanged."""

    def __init__(self, name: str, read: Callable[[str], Any], example: str):
        self.name, self._read, self._example = name, read, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a value.

        Raises:
            BadParameter: the text cannot be parsed.
        """
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError:
            self.fail(f"{value!r} is not a {self.name} such as {self._example}", param, ctx)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


NUMBER = TextType("number", lambda text: int(text) if text.isdigit() else float(text), "4 or 0.5")
WORDS = TextType("list", _words, "l1,nexp")
INTEGERS = TextType("list of whole numbers", lambda text: tuple(map(int, _words(text))), "3,32,32")
FLOATS = TextType("list of numbers", lambda text: tuple(map(float, _words(text))), "0.485,0.456,0.406")
