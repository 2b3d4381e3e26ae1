import inspect
import pickle

import pytest

from forewarn import errors
from forewarn.errors import ForewarnError

TREE = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, ForewarnError) and member.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_errors_survive_the_trip_between_processes(kind: type[ForewarnError]) -> None:
    sent = kind("attrition: row 3: income is below zero; send refunds apart")
    arrived = pickle.loads(pickle.dumps(sent))
    assert type(arrived) is kind
    assert str(arrived) == str(sent)
    assert arrived.status == sent.status


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_is_the_tree(kind: type[ForewarnError]) -> None:
    line = next(line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in line)
    assert str(kind.status) in line
