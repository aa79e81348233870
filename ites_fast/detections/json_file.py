"""JSON of unknown origin, read entry by entry in bounded memory, with errors that name the file and the place."""

import codecs
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
from tqdm import tqdm

from ites_fast.errors import InputError

CHUNK = 1 << 18  # characters
MAX_ENTRY = 1 << 25  # characters of one entry of a list: a frame of hundreds of people stays far below
HEAD = 1 << 16  # bytes that recognition looks at
MAX_HEAD_DEPTH = 50
_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{},]', re.DOTALL)
_NUMBERS = {int, float, type(None)}


def entries(path: Path) -> Iterator[tuple[str | None, int | None, Any]]:
    """Walk over a file without holding it whole.

    Args:
        path: a file with one JSON list or object.

    Yields:
        Key, index and value: of a list, its entries with the key None; of an object, each value with the index None,
        except that a value which is a list gives its entries, one by one, under its key.

    Raises:
        InputError: the file is not whole JSON in UTF-8, has a key twice, or an entry is too large.
    """
    with _opened(path) as text:
        first = text.peek()
        if first == "[":
            for index, value in enumerate(text.elements()):
                yield None, index, value
        elif first == "{":
            for key in text.members():
                if text.peek() == "[":
                    for index, value in enumerate(text.elements()):
                        yield key, index, value
                else:
                    yield key, None, text.value()
        else:
            text.fail("expected a JSON list or object")
        text.expect_end()


def load(path: Path) -> Any:
    """The value of a small file, such as one frame. Errors as in ``entries``."""
    with _opened(path, progress=False) as text:
        value = text.value()
        text.expect_end()
        return value


def head(path: Path) -> Any:
    """What the first kilobytes of a file hold, closed where they end; None for what is not a JSON list or object.

    It raises nothing.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(file.read(HEAD))
        closed = _closed(text.lstrip(" \t\r\n"))
        return None if closed is None else json.loads(closed)
    except (OSError, ValueError, RecursionError):
        return None


def why_not_json(path: Path) -> str | None:
    """What is wrong with the beginning of a file that ought to be JSON; None for other files and for good ones."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(HEAD)
    if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in (b"[", b"{") and path.suffix.lower() != ".json":
        return None
    try:
        codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start}"
    value = head(path)
    if value is None:
        return "not JSON"
    return "no frame and no person in it" if not value else None


def numbers(values: Any, where: str) -> np.ndarray:
    """A flat list of numbers as float64; null is NaN.

    Raises:
        InputError: something else than a list of numbers, or an infinite one; the message starts with ``where``.
    """
    if type(values) is not list:
        raise InputError(f"{where}: expected a list of numbers, got {shown(values)}")
    if not set(map(type, values)) <= _NUMBERS:
        wrong = next(value for value in values if type(value) not in _NUMBERS)
        raise InputError(f"{where}: expected numbers, got {shown(wrong)} among them")
    try:
        array = np.array(values, dtype=np.float64)
    except OverflowError:
        array = np.array([np.inf])
    if np.isinf(array).any():
        raise InputError(f"{where}: a number is infinite")
    return array


def integer(value: Any, where: str) -> int:
    """A whole number, also when it is written as 3.0.

    Raises:
        InputError: anything else.
    """
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise InputError(f"{where}: expected a whole number, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value in a message, short whatever it is."""
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'JSON object'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:40]}..."


def _closed(text: str) -> str | None:
    """JSON cut anywhere, without its last incomplete value and with all brackets closed; None if it does not start."""
    if text[:1] not in ("[", "{"):
        return None
    open_brackets: list[str] = []
    cut, closing = 0, ""
    for token in _TOKEN.finditer(text):
        symbol = token[0]
        if symbol in "[{":
            open_brackets.append("]" if symbol == "[" else "}")
            cut = token.end()
        elif symbol == ",":
            cut = token.start()
        elif symbol in "]}":
            open_brackets.pop()
            cut = token.end()
            if not open_brackets:
                return text[:cut]
        else:
            continue
        if len(open_brackets) > MAX_HEAD_DEPTH:
            return None
        closing = "".join(reversed(open_brackets))
    return text[:cut] + closing


@contextlib.contextmanager
def _opened(path: Path, progress: bool = True) -> "Iterator[_Text]":
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected a JSON file")
    bar = tqdm(
        total=path.stat().st_size,
        desc=path.name,
        unit="B",
        unit_scale=True,
        delay=1,
        disable=None if progress else True,
    )
    with path.open(encoding="utf-8-sig") as file, bar:
        try:
            yield _Text(path, file, bar)
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 ({error.reason})") from error


class _Text:
    """A window on the text of a file, which moves forward."""

    def __init__(self, path: Path, file: TextIO, bar: tqdm) -> None:
        self.path = path
        self.file = file
        self.bar = bar
        self.window = ""
        self.at = 0  # in the window
        self.before = 0  # characters before the window
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def peek(self) -> str:
        """The next character that is not white space, "" at the end of the file."""
        while True:
            self.at = _SPACE.match(self.window, self.at).end()
            if self.at < len(self.window) or not self._move():
                return self.window[self.at : self.at + 1]

    def value(self) -> Any:
        self.peek()
        while True:
            error = None
            try:
                value, end = self.decoder.raw_decode(self.window, self.at)
            except json.JSONDecodeError as reason:
                error = reason
            except RecursionError:
                self.fail("nested too deeply")
            except InputError:
                raise
            except ValueError:  # Python refuses to convert integers of thousands of digits
                self.fail("a number has too many digits")
            # A number may go on behind the end of the window.
            if error is None and end < len(self.window):
                self.at = end
                return value
            if len(self.window) - self.at > MAX_ENTRY:
                self.fail(f"{f'{error.msg}, or ' if error else ''}an entry of more than {MAX_ENTRY} characters")
            if not self._move():
                if error is None:
                    self.at = end
                    return value
                self.fail(error.msg, min(error.pos, len(self.window)))

    def elements(self) -> Iterator[Any]:
        """Values of a list, the next character being its bracket."""
        self.at += 1
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            yield self.value()
            if self._after_value("]"):
                return

    def members(self) -> Iterator[str]:
        """Keys of an object, the next character being its bracket; between them, the caller reads the values."""
        self.at += 1
        if self.peek() == "}":
            self.at += 1
            return
        seen = set()
        while True:
            if self.peek() != '"':
                self.fail("expected a key in quotes")
            key = self.value()
            if key in seen:
                raise InputError(f"{self.path}: the key {shown(key)} appears twice in one object")
            seen.add(key)
            if self.peek() != ":":
                self.fail("expected ':'")
            self.at += 1
            yield key
            if self._after_value("}"):
                return

    def expect_end(self) -> None:
        if self.peek():
            self.fail("more text after the end of the JSON")

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        # a cut literal or number is reported where it starts, a cut string far before the end
        if not self.file.read(1) and (len(self.window.rstrip()) - at < 9 or message.startswith("Unterminated")):
            message = f"the file ends in the middle; was it cut? ({message})"
        raise InputError(f"{self.path}: not whole JSON at character {self.before + at}: {message}")

    def _after_value(self, bracket: str) -> bool:
        symbol = self.peek()
        if symbol not in (",", bracket):
            self.fail(f"expected ',' or '{bracket}'")
        self.at += 1
        return symbol == bracket

    def _move(self) -> bool:
        """Drop what was read and append at least as much as is left, so that the work stays linear."""
        more = self.file.read(max(CHUNK, len(self.window) - self.at))
        self.bar.update(len(more))
        self.before += self.at
        self.window = self.window[self.at :] + more
        self.at = 0
        return bool(more)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            seen = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise InputError(f"{self.path}: the key {shown(twice)} appears twice in one object")
        return value
