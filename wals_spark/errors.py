"""Every error that a job can end with, each with the exit code that its callers rely on."""

from __future__ import annotations


class WalsError(Exception):
    """Something went wrong that a message can explain.

    ``exit_code`` is what a job returns to its scheduler: see `EXIT_CODES`.
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


EXIT_CODES = (
    f"exit codes: 0 done, {WalsError.exit_code} unexpected (a retry may help), "
    f"{ConfigError.exit_code} configuration refused, {InputError.exit_code} input refused"
)
"""What a job's ``--help`` says of its exit codes."""
