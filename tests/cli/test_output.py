"""If results cannot be written, the command fails before training or loses nothing after it."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jitprop import Trainer
from jitprop.cli import commands, files, main, models, tables, training
from jitprop.files import saving, sealed

TRAIN = "train", "data.csv", "--target", "y", "--epochs", "2", "--hidden", "4", "--quiet"
QUICK = *TRAIN, "--no-plot"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, rng):
    """The working folder, which holds a table."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    x = rng.normal(size=(40, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c, d"]).assign(y=np.where(x[:, 0] > 0, "é", "e"))
    frame.to_csv("data.csv", index=False)
    return work


def run(capsys, *arguments, code=0):
    """Run a command in this process; return what it wrote."""
    assert main(arguments) == code
    return capsys.readouterr()


def error(capsys, *arguments, code=2):
    """Return the one line of a command that fails."""
    out, err = run(capsys, *arguments, code=code)
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert out == ""
    return line


def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("it trained")

    monkeypatch.setattr(Trainer, "fit", fit)


# The model.


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="there is no such device here")
def test_a_device_is_refused_before_training(capsys, monkeypatch):
    no_training(monkeypatch)
    assert "--out /dev/null" in error(capsys, *QUICK, "--out", "/dev/null")


def test_bad_names_are_refused_before_training(capsys, monkeypatch):
    no_training(monkeypatch)
    os.symlink("loop", "loop")
    for name in ("x" * 300, "loop", "data.csv/model"):
        assert f"--out {name[:99]}" in error(capsys, *QUICK, "--out", name)


def test_a_link_to_nowhere_names_the_folder_that_is_not_there(capsys, monkeypatch, folder):
    no_training(monkeypatch)
    os.symlink("gone/model", "link")
    assert error(capsys, *QUICK, "--out", "link") == (
        f"error: --out link: there is no folder {folder / 'gone'}"
    )


def test_a_full_disk_is_known_before_training(capsys, monkeypatch):
    no_training(monkeypatch)

    def full(path, *_, **__):
        Path(path).write_bytes(b"some of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(saving, "write", full)
    line = error(capsys, *QUICK, "--out", "m")
    assert line == "error: --out m cannot be written: No space left on device"
    assert os.listdir() == ["data.csv"]


def test_a_model_too_wide_for_its_file_is_refused_before_training(capsys, monkeypatch):
    no_training(monkeypatch)
    monkeypatch.setattr(sealed, "MAX_HEADER", 6000)
    assert "of 3 columns and their categories: leave some out with --drop" in error(capsys, *QUICK)
    assert os.listdir() == ["data.csv"]


def test_what_was_learned_is_kept_elsewhere_if_the_disk_got_full(capsys, monkeypatch, folder):
    there = folder / "there"
    there.mkdir()
    write = saving.write
    monkeypatch.setattr(
        training, "score", lambda *_: monkeypatch.setattr(saving, "write", full) or {}
    )

    def full(path, *arguments):
        if Path(path).parent == Path("there"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        write(path, *arguments)

    line = error(capsys, *QUICK, "--out", "there/m.safetensors")
    (kept,) = folder.glob("m-*.safetensors")
    assert line == (
        f"error: cannot write there/m.safetensors: No space left on device; it is in {kept} instead"
    )
    assert models.load(kept)[0].epochs_trained == 2
    assert not list(there.iterdir())


def test_where_no_folder_takes_the_model_it_is_said(capsys, monkeypatch):
    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(
        training, "score", lambda *_: monkeypatch.setattr(saving, "write", full) or {}
    )
    assert error(capsys, *QUICK).endswith("it is lost")


def test_a_model_is_kept_though_it_cannot_be_scored(capsys, monkeypatch):
    def score(*_):
        raise MemoryError("of scores")

    monkeypatch.setattr(training, "score", score)
    assert error(capsys, *QUICK) == "error: not enough memory: of scores"
    assert models.load(Path("model.safetensors"))[0].epochs_trained == 2


def test_a_picture_that_cannot_be_written_costs_nothing_else(capsys, monkeypatch):
    replacing = files.replacing

    def full(path):
        if Path(path).suffix == ".png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return replacing(path)

    monkeypatch.setattr("jitprop.cli.pictures.replacing", full)
    arguments = [a for a in TRAIN if a != "--quiet"]
    out, err = run(capsys, *arguments, code=2)
    assert "accuracy" in out
    assert "picture" not in out
    assert err.splitlines()[-1] == (
        "error: cannot write model.png: No space left on device; the model is in model.safetensors"
    )


@pytest.mark.parametrize("failure", [ImportError("a part lacks"), ValueError("no backend 'x'")])
def test_a_matplotlib_that_cannot_be_loaded_is_known_before_training(capsys, monkeypatch, failure):
    no_training(monkeypatch)

    class Broken:
        def find_spec(self, name, *_):
            if name == "matplotlib.figure":
                raise failure

    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert error(capsys, *TRAIN) == (
        f"error: matplotlib, which draws the plot, cannot be loaded: {failure}; "
        "--no-plot trains without a plot"
    )
    monkeypatch.undo()


# Ctrl-C.


def test_ctrl_c_after_the_last_epoch_waits_for_the_model(capsys, monkeypatch):
    score = training.score

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return score(*arguments)

    monkeypatch.setattr(training, "score", interrupted)
    line = error(capsys, *QUICK, code=130)
    assert line == "error: interrupted; the model after 2 epochs is in model.safetensors"
    assert models.load(Path("model.safetensors"))[1].scores


def test_a_second_ctrl_c_does_not_cost_the_model(capsys, monkeypatch):
    fit, score = Trainer.fit, training.score

    def interrupted(self, X, y, epochs, **kwargs):
        fit(self, X, y, epochs, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)

    def again(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return score(*arguments)

    monkeypatch.setattr(Trainer, "fit", interrupted)
    monkeypatch.setattr(training, "score", again)
    assert "2 epochs is in model.safetensors" in error(capsys, *QUICK, code=130)
    assert models.load(Path("model.safetensors"))[1] is not None


def test_ctrl_c_while_the_command_line_is_imported(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupted)
    assert error(capsys, "info", "model", code=130) == "error: interrupted"


# The standard output.


def process(*arguments, **options):
    """Run a command in a new process; return its exit code and what it wrote to stderr."""
    command = [sys.executable, "-m", "jitprop", *arguments]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, check=False, timeout=300, **options
    )
    return done.returncode, done.stderr


def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "wb")


FULL = "cannot write to the standard output: No space left on device"
CLOSED = "the standard output was closed before everything was written"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device here")
def test_stdout_on_a_full_disk():
    with open("/dev/full", "wb") as full:
        arguments = [a for a in QUICK if a != "--quiet"]
        code, err = process(*arguments, stdout=full)
        assert (code, err) == (2, f"error: {FULL}; the model is in model.safetensors\n")
        for command in (["info", "model.safetensors"], ["--help"]):
            assert process(*command, stdout=full) == (2, f"error: {FULL}\n")
        predict = "predict", "model.safetensors", "data.csv", "--quiet"
        assert process(*predict, stdout=full) == (2, f"error: {FULL}\n")


def test_a_closed_pipe(capsys):
    run(capsys, *QUICK)
    with closed_pipe() as pipe:
        assert process("info", "model.safetensors", stdout=pipe) == (2, f"error: {CLOSED}\n")
        predict = "predict", "model.safetensors", "data.csv", "--quiet"
        assert process(*predict, stdout=pipe) == (2, f"error: {CLOSED}\n")


def test_no_stdout_at_all(capsys, monkeypatch):
    run(capsys, *QUICK)
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["info", "model.safetensors"]) == 0
    assert main(["predict", "model.safetensors", "data.csv", "--quiet"]) == 2
    assert "standard output is closed: use --out" in capsys.readouterr().err


def test_no_stdin_at_all(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    message = error(capsys, "train", "-", "--target", "y", "--quiet")
    assert message == "error: cannot read the standard input: it is closed"


def ascii_stdout(monkeypatch):
    made = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", made)
    return made


def test_a_terminal_of_ascii_is_shown_what_it_can_show(capsys, monkeypatch):
    stdout = ascii_stdout(monkeypatch)
    assert main([a for a in QUICK if a != "--quiet"]) == 0
    assert main(["info", "model.safetensors"]) == 0
    shown = stdout.buffer.getvalue()
    assert b"classes: e, \\xe9" in shown
    assert b"accuracy" in shown
    assert stdout.errors == "strict"


def test_predictions_are_never_written_in_other_letters(capsys, monkeypatch):
    stdout = ascii_stdout(monkeypatch)
    assert main(QUICK) == 0
    assert main(["predict", "model.safetensors", "data.csv", "--quiet"]) == 2
    assert stdout.buffer.getvalue() == b""
    (line,) = capsys.readouterr().err.splitlines()
    assert "has the encoding ascii, which lacks" in line
    assert "PYTHONIOENCODING=utf-8" in line


def test_many_predictions_are_one_table(capsys, monkeypatch):
    frame = pd.DataFrame({"p": np.arange(7) / 3, "q": list("abcdefg")})
    monkeypatch.setattr(files, "ROWS", 3)
    files.write_table(frame, None)
    assert capsys.readouterr().out == frame.to_csv(index=False, lineterminator="\n")
    files.write_table(frame.iloc[:0], None)
    assert capsys.readouterr().out == "p,q\n"


def test_the_work_goes_on_where_nobody_reads_stderr(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["train", "data.csv", "--target", "y", "--epochs", "2", "--no-plot"]) == 0
    assert main(["predict", "none", "none"]) == 2


# Options as a user may type them.


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (["a"], ["a"]),
        (["a,b"], ["a", "b"]),
        ([" a , b,"], ["a", "b"]),
        (["a, b"], ["a", "b"]),
        (["c, d"], ["c, d"]),
        (["a,c, d,b"], ["a", "c, d", "b"]),
        (["a", "c, d"], ["a", "c, d"]),
        (["c,d"], ["c", "d"]),
        (["", ","], []),
        (["zz,a"], ["zz", "a"]),
    ],
)
def test_names_of_columns(typed, names):
    frame = pd.DataFrame(columns=["a", "b", "c, d", "y"])
    assert tables.names(frame, typed) == tuple(names)


def test_a_name_with_a_comma_can_be_dropped_and_kept(capsys):
    run(capsys, *QUICK, "--drop", "c, d", "--text", "a", "--text", "b", "--keep", "a,b")
    columns = models.load(Path("model.safetensors"))[1].columns
    assert [(column.name, column.kind) for column in columns] == [("a", "text"), ("b", "text")]


def test_rprop_gets_all_rows_at_once(capsys):
    run(capsys, *QUICK, "--optimizer", "rprop")
    trainer, _ = models.load(Path("model.safetensors"))
    assert trainer._model.spec.batch_size is None
    line = error(capsys, *QUICK, "--optimizer", "rprop", "--batch-size", "5")
    assert "batch_size must be None or at least the number of samples" in line


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("option", ["--validation", "--learning-rate", "--weight-decay"])
def test_numbers_are_finite(capsys, option, value):
    assert f"'{option}'" in error(capsys, *QUICK, option, value)


@pytest.mark.parametrize("largest", [1e308, 1.7e308, 1e-308, 1e-320])
def test_targets_at_the_ends_of_float64(capsys, rng, largest):
    x = rng.uniform(-1, 1, 60)
    pd.DataFrame({"a": x, "y": x * largest}).to_csv("data.csv", index=False)
    run(capsys, *TRAIN)
    assert Path("model.png").stat().st_size > 10_000
    run(capsys, "predict", "model.safetensors", "data.csv", "--out", "p.csv", "--quiet")
    assert np.isfinite(pd.read_csv("p.csv")["y"]).all()


def test_what_the_system_refuses_is_one_line(capsys, monkeypatch):
    def load(path):
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(models, "load", load)
    assert error(capsys, "info", "model").endswith("no more processes")


HOSTILE = """
info .
info data.csv
info loop
info empty
info /dev/null
predict data.csv data.csv
predict empty data.csv
predict none data.csv --out none/p.csv
train loop --target y
train . --target y
train empty --target y
train blank --target y
train header --target a
train one --target a
train nul --target a
train open --target a
train fake --target a
train data.csv --target ''
train data.csv --target a,b
train data.csv --target y --drop 'a,b,c, d'
train data.csv --target y --keep zz
train data.csv --target y --text a --number a
train data.csv --target y --number y
train data.csv --target y --hidden 99999999999999999999
train data.csv --target y --hidden 3000000,3000000
train data.csv --target y --hidden ,
train data.csv --target y --hidden MANY
train data.csv --target MANY
train data.csv --target y --drop MANY
train data.csv --target y --optimizer MANY
train data.csv --target y --activation ''
train data.csv --target y --activation softmax
train data.csv --target y --optimizer newton
train data.csv --target y --optimizer ''
train data.csv --target y --weight-decay 1e308
train data.csv --target y --learning-rate 1e308
train data.csv --target y --epochs 99999999999999999999999
train data.csv --target y --batch-size -1
train data.csv --target y --validation 0.99
train data.csv --target y --seed -1
train data.csv --target y --dtype float16
train data.csv --target y --decimal . --thousands .
train data.csv --target y --missing é --missing e
train data.csv --target y --out ''
train data.csv --target y --out ..
train data.csv --target y --plot /dev/null
train data.csv --target y --plot none/p.png
"""


@pytest.mark.parametrize("line", HOSTILE.strip().splitlines())
def test_no_command_line_ends_in_a_traceback(capsys, line):
    os.symlink("loop", "loop")
    for name, content in {
        "empty": b"",
        "blank": b"\n\n",
        "header": b"a,b\n",
        "one": b"a,b\n1,2\n",
        "nul": b"a,b\n\0,1\n",
        "open": b'a,b\n"1,2\n3,4\n',
        "fake": b"PAR1xxxxPAR1",
    }.items():
        Path(name).write_bytes(content)
    before = sorted(os.listdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = shlex.split(line.replace("MANY", "9" * 50_000))
        message = error(capsys, *arguments, *(["--quiet"] if line.startswith("train") else []))
    assert len(message) < 700
    assert sorted(os.listdir()) == before


def test_divergence_names_the_options_that_may_be_at_fault(capsys):
    line = error(capsys, *QUICK, "--weight-decay", "1e308")
    assert line.endswith("use a smaller --learning-rate than 0.003, or a smaller --weight-decay")
    line = error(capsys, *QUICK, "--optimizer", "sgd", "--learning-rate", "1e308")
    assert line.endswith("use a smaller --learning-rate than 1e+308")
