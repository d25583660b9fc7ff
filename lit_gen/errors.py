"""The one exception that means: the person at the keyboard can mend this."""


class UserError(Exception):
    """A mistake in what was asked for, told in one line that says what is wrong and what would be right.

    The command line prints it without a traceback and exits with status 2 (``--debug`` shows the traceback).
    Raise it as early as the mistake can be seen; let every other exception through, for those are our own bugs.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class Interrupted(Exception):
    """The person asked the run to stop; the message says how to go on. Not an error: the state has been saved."""


def printable(text: str) -> str:
    """``text`` with escapes in the place of what no terminal or file can take: control characters, and the bytes of
    file names that aren't UTF-8, which Python keeps as lone surrogates."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (c.isspace() and c <= " ") else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # Python's stand-in for a byte that isn't UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
