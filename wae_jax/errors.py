"""The errors that a user can do something about; each message says what is wrong, where, and what would be right."""

from __future__ import annotations


class RequestError(ValueError):
    """A request that cannot be met; the message says why."""


class CompareError(RequestError):
    """Runs that cannot be compared; the message says which and why."""


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the fields."""


class DatasetError(ValueError):
    """A data set that cannot be used; the message says what is wrong, where, and what would be right."""


class SourceError(ValueError):
    """An input that gives no phrase; the message is the reason."""


class WorkdirError(RuntimeError):
    """The work folder is in use, or belongs to a run with another configuration or other data."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, found or read, or it is damaged."""


class CheckpointMismatchError(CheckpointError):
    """A checkpoint is intact but holds another state than the one asked for: other leaves, shapes or dtypes."""


class DeviceError(ValueError):
    """A run that does not fit its processes and devices; the message has the numbers."""


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is no longer a number."""


class SoundFontError(ValueError):
    """A file that is no sound font, or a damaged one; the message says what is wrong."""
