"""From tokens to text as it grows: pieces that are whole characters, and nothing of a string that ends the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

_TAIL = 8  # tokens that are decoded again before a new one, for what depends on its neighbours

Decode = Callable[[Sequence[int]], str]


class TextStream:
    """Tokens in, pieces of text out: put together they are the whole text up to the first of ``stop``.

    What may be the beginning of a stop string is held back until it is known not to be one, and so is a character whose last
    bytes are still to come.

    Args:
        decode: tokens -> text.
        stop: strings that end the text.

    Attributes:
        text: all of it so far, what is held back included; cut before the stop string once that is there.
        stopped: whether a stop string has come.

    Example:
        >>> stream = TextStream(lambda ids: "".join(map(chr, ids)), stop=("END",))
        >>> [stream.add(ord(c)) for c in "aENbEND"]
        ['a', '', '', 'ENb', '', '', '']
        >>> stream.text, stream.stopped
        ('aENb', True)
    """

    def __init__(self, decode: Decode, stop: Sequence[str] = ()) -> None:
        self.decode, self.stop = decode, tuple(stop)
        self.text, self.stopped = "", False
        self._told = 0
        self._fresh: list[int] = []  # tokens whose text is not settled
        self._before: list[int] = []  # some before them, and what these alone are decoded to
        self._known = ""

    def add(self, token: int) -> str:
        """One more token: what can be told of the text that was not told before, often nothing."""
        if self.stopped:
            return ""
        self._fresh.append(int(token))
        whole = self.decode([*self._before, *self._fresh])
        if whole.endswith("\ufffd") and len(self._fresh) < _TAIL:
            return ""  # a character may need several tokens
        self._settle(whole)
        return self._tell(held=self._begun())

    def close(self) -> str:
        """The text is over: what was held back."""
        if not self.stopped and self._fresh:
            self._settle(self.decode([*self._before, *self._fresh]))
        return self._tell(held=0)

    def _settle(self, whole: str) -> None:
        self.text += whole[len(self._known) :]
        self._before = [*self._before, *self._fresh][-_TAIL:]
        self._fresh, self._known = [], self.decode(self._before)
        places = [place for s in self.stop if (place := self.text.find(s, max(0, self._told - len(s)))) >= 0]
        if places:
            self.text, self.stopped = self.text[: min(places)], True

    def _begun(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        if self.stopped:
            return 0
        longest = max(map(len, self.stop), default=1) - 1
        return next((n for n in range(min(longest, len(self.text)), 0, -1) if self._may_begin(self.text[-n:])), 0)

    def _may_begin(self, end: str) -> bool:
        return any(s.startswith(end) for s in self.stop)

    def _tell(self, held: int) -> str:
        piece = self.text[self._told : len(self.text) - held]
        self._told += len(piece)
        return piece


def pieces(tokens: Iterable[int], decode: Decode, stop: Sequence[str] = ()) -> Iterator[str]:
    """The text of tokens as they come, up to the first of ``stop``; see :class:`TextStream`.

    Example:
        >>> "".join(pieces(map(ord, "a b. c"), lambda ids: "".join(map(chr, ids)), (".",)))
        'a b'
    """
    stream = TextStream(decode, stop)
    for token in tokens:
        if piece := stream.add(token):
            yield piece
        if stream.stopped:
            return
    if piece := stream.close():
        yield piece


def stops_at(decode: Decode, stop: Sequence[str], prompt: Sequence[int] = ()) -> Callable[[Sequence[int]], bool] | None:
    """Says of new tokens whether one of the strings has come with the last of them; None without strings.

    Args:
        decode: tokens -> text.
        stop: the strings.
        prompt: a few tokens before the new ones, where decoding depends on them.
    """
    if not stop:
        return None
    longest = max(map(len, stop))

    def ended(new: Sequence[int]) -> bool:
        tail = [*prompt, *new][-(longest + _TAIL) :]  # a token is a byte at least: so many hold the longest string
        text = decode(tail)
        return any(s in text for s in stop)

    return ended
