"""What the tests of the command line share."""

from __future__ import annotations

import pytest

from jitprop.cli import boosting

WITH_TREES = "test_extras", "test_pages"
"""The files of tests that look at boosted trees; the others train none, which saves their time."""


@pytest.fixture(autouse=True)
def no_trees(request, monkeypatch):
    if request.module.__name__.rpartition(".")[2] not in WITH_TREES:
        monkeypatch.setattr(boosting, "WORK", 0.0)
