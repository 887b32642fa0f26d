"""Every error that a job can end with, each with the exit code that its callers rely on."""

from __future__ import annotations

from wals_spark.messages import printable, redacted


class WalsError(Exception):
    """Something went wrong that a message can explain: in one line, without secrets or control characters.

    ``exit_code`` is what a job returns to its scheduler: see `EXIT_CODES`.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(redacted(" ".join(message.split("\n")))))


class ConfigError(WalsError, ValueError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another."""

    exit_code = 2


class InputError(WalsError, ValueError):
    """The interactions, or a stored model, cannot be used as they are."""

    exit_code = 3


class TrainingError(WalsError):
    """Training produced something that the mathematics forbids, or that no reader may see."""


class GateError(WalsError):
    """The gate refuses a model, which is kept and not served."""

    exit_code = 4


class HeldError(WalsError):
    """Another run writes below this root, or has taken over from this one."""

    exit_code = 5


class InterruptedRunError(WalsError):
    """The run was told to end, and has."""

    exit_code = 143  # what a shell says of SIGTERM


EXIT_CODES = (
    f"exit codes: 0 done, {WalsError.exit_code} unexpected (a retry may help), "
    f"{ConfigError.exit_code} configuration refused, {InputError.exit_code} input or model refused,\n"
    f"{GateError.exit_code} model refused by the gate, {HeldError.exit_code} held by another run (retry later), "
    f"{InterruptedRunError.exit_code} interrupted (retry)"
)
"""What a job's ``--help`` says of its exit codes."""
