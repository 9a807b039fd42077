"""Errors say which of several jobs they are of."""

from types import SimpleNamespace

import pytest

from engine.commands.whose import job_named
from engine.errors import BackfillError, JobError, PermanentError, TransientError

JOB = SimpleNamespace(name="orders")


@pytest.mark.parametrize("kind", [JobError, PermanentError, TransientError])
def test_of_several_jobs_an_error_names_its_own(kind: type[BackfillError]) -> None:
    cause = OSError("lost")
    for among, said in ((1, "source: no; GRANT it"), (2, "orders: source: no; GRANT it")):
        with pytest.raises(kind) as told, job_named(JOB, among=among):  # type: ignore[arg-type]
            raise kind("source: no; GRANT it") from cause
        assert str(told.value) == said
        assert type(told.value) is kind
        assert told.value.__cause__ is cause, "what the error came of decides what is done about it"
