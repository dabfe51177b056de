"""The two errors a user can cause; the command line prints their one line and exits with their code."""

from __future__ import annotations


class BenchError(Exception):
    """Base of all errors whose message is one line for a person: what was wrong, where, what to do."""

    exit_code = 1


class InputError(BenchError):
    """Data, weights or results are missing, corrupt or of another kind (exit code 1)."""

    exit_code = 1


class UsageError(BenchError):
    """The command or call asked for something that does not exist or does not fit (exit code 2)."""

    exit_code = 2
