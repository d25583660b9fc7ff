"""The one exception that means: the person at the keyboard can mend this."""


class UserError(Exception):
    """A mistake in what was asked for, told in one line that says what is wrong and what would be right.

    The command line prints it without a traceback and exits with status 2 (``--debug`` shows the traceback).
    Raise it as early as the mistake can be seen; let every other exception through, for those are our own bugs.
    """


class Interrupted(Exception):
    """The person asked the run to stop; the message says how to go on. Not an error: the state has been saved."""
