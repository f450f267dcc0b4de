"""What the command line prints without a traceback: one line saying what, which file, what to do."""


class HeadstartError(Exception):
    """Base of every error that is meant for the user; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(HeadstartError):
    """The call itself is wrong: an unknown option value, a run that exists already."""

    exit_code = 2


class DataError(HeadstartError):
    """The pictures or labels cannot be learned from."""

    exit_code = 3


class ClassifierError(HeadstartError):
    """A saved classifier is refused: damaged, edited by hand, or made by a newer version."""

    exit_code = 4


class MachineError(HeadstartError):
    """The environment is in the way: disk full, no permission, a missing package."""

    exit_code = 5
