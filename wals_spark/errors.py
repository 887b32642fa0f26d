"""Every error a job can end with, each with the exit code its callers rely on."""

from __future__ import annotations


class WalsError(Exception):
    """Something went wrong that a message can explain.

    ``exit_code`` is what a job returns to its scheduler: 1 unexpected (a retry may help),
    2 configuration refused, 3 input refused.
    """

    exit_code = 1


class ConfigError(WalsError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another."""

    exit_code = 2


class InputError(WalsError):
    """The interactions cannot be trained on as they are."""

    exit_code = 3


class TrainingError(WalsError):
    """Training produced something that the mathematics forbids, or that no reader may see."""
