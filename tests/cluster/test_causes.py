"""The user's mistake is found inside whatever a distributed library makes of it."""

import pickle

import pytest

from cluster.causes import input_error_in, telling_input_errors
from cluster.errors import InputError


class WorkersError(Exception):
    def __init__(self, text: str, worker_failures: dict[int, Exception]) -> None:
        super().__init__(text)
        self.worker_failures = worker_failures


class DualError(InputError):
    """As Ray raises it: of the cause's class, with a traceback for a text."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"Traceback of a task: {cause}")
        self.cause = cause


def test_a_cause_is_found_however_deep():
    mistake = InputError("no boxes; give some")
    assert input_error_in(mistake) is mistake
    assert input_error_in(DualError(mistake)) is mistake
    assert input_error_in(WorkersError("two failed", {0: RuntimeError("gone"), 1: DualError(mistake)})) is mistake
    failed = RuntimeError("a task failed")
    failed.__cause__ = mistake
    assert input_error_in(WorkersError("", {3: failed})) is mistake


def test_a_bug_has_none_even_if_it_goes_round_in_circles():
    first, second = RuntimeError("a"), ValueError("operands could not be broadcast")
    first.__cause__, second.__cause__ = second, first
    assert input_error_in(first) is None


@pytest.mark.parametrize("text", ["no boxes; give some", 'a "quoted" name, ümläut\nand a second line', "a <b> c"])
def test_a_cause_is_found_where_the_text_alone_arrives(text: str):
    with pytest.raises(InputError) as raised, telling_input_errors():
        raise InputError(text)
    arrived = pickle.loads(pickle.dumps(RuntimeError(f"task failed:\n  InputError: {raised.value}\nend of log")))
    found = input_error_in(arrived)
    assert found is not None
    assert str(found) == text


def test_other_errors_are_not_marked():
    with pytest.raises(ValueError, match=r"^a bug$"), telling_input_errors():
        raise ValueError("a bug")
