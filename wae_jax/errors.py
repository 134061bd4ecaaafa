"""Errors that a user can act on; each message says what is wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Base class of the errors that commands print as one sentence, without a traceback."""


class RequestError(UserError, ValueError):
    """A request, such as a combination of flags, cannot be met."""


class CompareError(RequestError):
    """Runs cannot be compared with each other."""


class ConfigError(UserError, ValueError):
    """A configuration cannot be run; the message names the fields."""


class DatasetError(UserError, ValueError):
    """A dataset is missing, damaged or of another format."""


class MissingDatasetError(DatasetError):
    """There is no dataset where one was expected."""


@contextmanager
def naming_alternative(instead: str) -> Iterator[None]:
    """Within it, the message of a `DatasetError` ends with what can be given in place of the dataset."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{error}; or {instead}") from error


class SourceError(UserError, ValueError):
    """An input file yields no phrase; the message is the reason."""


class WorkdirError(UserError, RuntimeError):
    """A workdir is in use, belongs to another configuration, dataset or version."""


class RemoteError(UserError, RuntimeError):
    """A file at a URL cannot be read or written."""


class TrackerError(UserError, RuntimeError):
    """The tracker of a run cannot be started."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be written, found or read, is damaged, or holds another state than expected."""


class DeviceError(UserError, ValueError):
    """A run does not fit its processes and devices."""


class NonFiniteLossError(UserError, RuntimeError):
    """The loss, its gradient or the state that a step leaves is no longer finite."""


class SoundFontError(UserError, ValueError):
    """A file is no sound font, or a damaged one."""
