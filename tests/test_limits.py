"""Every wait of the tests has a limit, and Ctrl-C works in tests where the shell ignores it."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
STARTS = {"run", "call", "check_call", "check_output"}
WAITS = {"wait", "join", "acquire", "result", "communicate"}


def unlimited(source):
    """Yield the calls of a file that may wait for ever."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        has_limit = any(word.arg == "timeout" for word in node.keywords)
        is_start = node.func.attr in STARTS and ast.unparse(node.func.value) == "subprocess"
        is_wait = node.func.attr in WAITS and not node.args
        if (is_start or is_wait) and not has_limit:
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("source", "n"),
    [
        ("subprocess.run(command, check=True)", 1),
        ("subprocess.run(command, timeout=9)", 0),
        ("thread.join()", 1),
        ("thread.join(9)", 0),
        ("', '.join(words)", 0),
        ("event.wait(timeout=9)", 0),
    ],
)
def test_a_wait_without_a_limit_is_found(source, n):
    assert len(list(unlimited(source))) == n


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_every_wait_of_the_tests_has_a_limit(path):
    assert list(unlimited(path.read_text())) == []


RUN = """
import sys
import pytest
import conftest

conftest.LIMIT = 1
sys.exit(pytest.main([sys.argv[1], "-q", "-p", "conftest", "-p", "no:cacheprovider"]))
"""


def run_test(body, folder):
    """Run a test of these lines in a process with the fixtures of conftest.py."""
    path = folder / "test_alone.py"
    path.write_text(f"import signal, time\ndef test():\n    {body}\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    return subprocess.run(
        [sys.executable, "-c", RUN, path],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_a_test_that_hangs_ends_the_run(tmp_path):
    done = run_test("time.sleep(90)", tmp_path)
    assert done.returncode != 0
    assert "in test\n" in done.stderr, done.stdout


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_works_where_the_shell_ignores_it(tmp_path):
    """So it is under nohup and in a background job. What a test starts inherits the same."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = run_test("signal.raise_signal(signal.SIGINT)", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "KeyboardInterrupt" in done.stdout, done.stderr
