"""Tests of a program that caches, with the fixture `cachier_tmp`: run by pytest."""

import pytest

import cachier

runs = []


@cachier.cachier()
def answer(question: str) -> int:
    runs.append(question)
    return 42


@pytest.fixture(autouse=True)
def _empty(cachier_tmp):
    """Let every test of this file begin with nothing stored."""
    runs.clear()


def test_it_is_computed_once():
    assert answer("why") == answer("why") == 42
    assert runs == ["why"]


def test_nothing_is_left_of_other_tests():
    assert not answer.is_cached("why")


def test_the_function_alone():
    assert answer.__wrapped__("why") == 42
    with cachier.caching_disabled():
        answer("why")
    assert runs == ["why", "why"]
