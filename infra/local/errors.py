"""The one error of this package: something on this machine stands in the way."""


class LocalStackError(RuntimeError):
    """A part of the local stack cannot be installed, started or reached.

    The message is one sentence that says what, where, and what to do; it is shown to a person as it is.
    """
