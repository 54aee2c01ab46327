"""`lesson` in Python: the file that it writes, and what it refuses."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

from jitprop import Adam, CustomActivation, Trainer
from jitprop.cli.lessons import NOTEBOOKS
from jitprop.teaching import lesson, lessons

XOR = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.html)[1])


def test_a_lesson_is_one_small_file_that_needs_nothing_else(tmp_path):
    page = lesson(Trainer([2, 3, 1], seed=0), *XOR, 50, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text == page.html
    assert len(text.encode()) < 500_000
    assert "default-src 'none'" in text
    for outside in ("http://", "https://", "import ", "fetch(", "src=", "url("):
        assert outside not in text.replace("http://www.w3.org/2000/svg", "")
    assert page.path == tmp_path / "page.html"
    assert repr(page).startswith("Lesson(")
    assert len(page.history.loss) == 50


def test_every_text_is_in_one_file():
    texts = json.loads(lessons._file("texts.json"))
    page = lessons._file("page.html")
    code = "".join(map(lessons._file, lessons.SCRIPTS))
    used = set(re.findall(r"\{\{(\w+)\}\}", page))
    used |= set(re.findall(r'\w*"(\w+)"', code)) | set(re.findall(r"heading_\w+", page + code))
    used |= {f"heading_{name}" for name in ("forward", "backward", "update", "difference")}
    used |= {"fixed_custom", "fixed_optimizer", "fixed_schedule"}
    assert set(texts) <= used, set(texts) - used
    assert re.sub(r"<script.*|<style.*|\{\{\w+\}\}|<[^>]*>|[÷×]2|\s|[za]|delta|\.", "", page) == ""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_largest_of_the_notebooks_is_a_small_file(name):
    assert len(NOTEBOOKS[name]().make(None).html.encode()) < 200_000


def test_the_largest_lessons_are_below_500_kb():
    rng = np.random.default_rng(0)
    X, y = rng.random((200, 12)), rng.random((200, 12))
    largest = Trainer([12] * 5, optimizer="adam", batch_size=10, seed=0)
    assert len(lesson(largest, X, y, 300).html.encode()) < 500_000
    square = CustomActivation(lambda z: z * z / 4, lambda z: z / 2, name="square")
    custom = Trainer([12, 2, 12], activation=square, optimizer=Adam(), learning_rate=1e-4, seed=0)
    assert len(lesson(custom, X, y, 300).html.encode()) < 500_000


@pytest.mark.parametrize("epochs", [1, 7, 199, 200, 1000, 100_000])
def test_snapshots_are_dense_at_first_and_end_at_the_last_epoch(epochs):
    recording = lessons._Recording(Trainer([2, 2, 1], seed=0), *XOR)
    stops = [0, *recording.stops(epochs)]
    gaps = np.diff(stops)
    assert len(stops) <= 200
    assert stops[-1] == epochs
    assert (gaps >= 1).all()
    assert (gaps[: min(epochs, 60)] == 1).all()
    assert (np.diff(gaps[:-1]) >= -1).all()  # rounded
    assert len(stops) > min(epochs, 150)


def test_the_losses_are_those_of_fit():
    trainer = Trainer([2, 3, 1], batch_size=3, seed=0)
    found = data_of(lesson(trainer, *XOR, 300))["run"]
    loss = trainer.fit(*XOR, 300).loss
    raw = np.frombuffer(base64.b64decode(found["losses"]), "<f8")
    assert np.array_equal(raw, loss[found["shown"]])
    assert found["shown"][-1] == 299


def test_the_order_of_samples_is_that_of_fit():
    X, y = np.arange(12.0).reshape(6, 2), np.zeros((6, 1))
    trainer = Trainer([2, 1], batch_size=2, seed=5)
    orders = data_of(lesson(trainer, X, y, 3))["run"]["orders"]
    same = Trainer([2, 1], batch_size=2, seed=5)
    same.fit(X, y, order=np.array(orders[:3]), epochs=3)
    trainer.fit(X, y, 3)
    assert np.array_equal(same.parameters, trainer.parameters)


def test_texts_of_the_user_stay_texts():
    evil = "</script><script>alert(1)</script><b>&"
    page = lesson(
        Trainer([2, 1], seed=0), *XOR, 1, title=evil, about=evil, input_names=[evil, "b"]
    ).html
    assert evil not in page
    assert "<script>alert" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_notebook_shows_the_page():
    shown = lesson(Trainer([2, 1], seed=0), *XOR, 1)._repr_html_()
    assert re.fullmatch(
        r'<iframe title="jitprop" srcdoc="[^"]*" style="[^"]*"></iframe>', shown, re.S
    )


def test_the_trainer_is_not_changed():
    trainer = Trainer([2, 3, 1], seed=0)
    before = trainer.parameters.copy()
    lesson(trainer, *XOR, 10)
    assert np.array_equal(trainer.parameters, before)
    assert trainer.epochs_trained == 0


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            [2, 13, 1],
            r"trainer must have at most 12 units in each layer for a lesson, .*\[2, 13, 1\]",
        ),
        ([13, 1], "at most 12 units"),
        ([2, 2, 2, 2, 2, 1], "at most 4 layers of weights for a lesson, so that a person can see"),
    ],
)
def test_large_nets_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        lesson(Trainer(sizes, seed=0), [[0.0] * sizes[0]], [[0.0]], 1)


def test_other_bad_input_is_refused(tmp_path):
    trainer = Trainer([2, 1], seed=0)
    softmax = Trainer([2, 11], output_activation="softmax", loss="cross_entropy", seed=0)
    with pytest.raises(ValueError, match=r"at most 10 classes for a lesson, .*; got 11"):
        lesson(softmax, *XOR, 1)
    with pytest.raises(ValueError, match=r"X must have at most 200 samples, .*; got 201"):
        lesson(trainer, np.zeros((201, 2)), np.zeros(201), 1)
    with pytest.raises(ValueError, match=r"dtype float64 for a lesson, .*; got float32"):
        lesson(Trainer([2, 1], dtype="float32", seed=0), *XOR, 1)
    with pytest.raises(TypeError, match="trainer must be a Trainer; got"):
        lesson([2, 1], *XOR, 1)
    with pytest.raises(ValueError, match="epochs must be"):
        lesson(trainer, *XOR, 0)
    with pytest.raises(TypeError, match="title must be text; got"):
        lesson(trainer, *XOR, 1, title=3)
    with pytest.raises(ValueError, match="input_names must be a list of 2 texts"):
        lesson(trainer, *XOR, 1, input_names=["a"])
    with pytest.raises(FileNotFoundError):
        lesson(trainer, *XOR, 1, tmp_path / "none" / "page.html")
    square = CustomActivation(lambda z: z * z / 4, lambda z: z / 2, name="square")
    many = Trainer([2, 12, 12, 12, 12], activation=square, output_activation=square, seed=0)
    with pytest.raises(ValueError, match="X must have fewer samples for a lesson on a custom"):
        lesson(many, np.zeros((200, 2)), np.zeros((200, 12)), 5)
    assert list(tmp_path.iterdir()) == []
