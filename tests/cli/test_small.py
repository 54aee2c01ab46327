"""Small regressions: `jitprop train` tries Levenberg-Marquardt too, and keeps the better net."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jitprop.cli import main, models, training
from jitprop.cli.refused import RefusedError

TRAIN = "train", "t.csv", "--target", "y", "--no-plot", "--fast"
WINS = "this net is the model"
LOSES = "the model is the net of Adam"


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch, rng):
    """A smooth function of two inputs, which a small net fits well."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(rng.uniform(-2, 2, (100, 2)), columns=["a", "b"])
    frame["y"] = 1e4 * np.sin(2 * frame["a"]) + 5e3 * frame["a"] * frame["b"]
    frame.to_csv("t.csv", index=False)
    return frame


def run(capsys, *arguments, code=0):
    assert main((*TRAIN, "--epochs", "60", *arguments)) == code
    return capsys.readouterr()


def load():
    return models.load(Path("model.safetensors"))


def test_the_smaller_net_is_kept_where_it_wins(capsys, table):
    out, _ = run(capsys)
    trainer, model = load()
    assert WINS in out
    assert trainer.optimizer.name == "lm"
    assert trainer.layer_sizes in ((2, 5, 1), (2, 10, 1))
    assert trainer.activation == ("tanh",)
    found = re.search(
        r"is (\S+), \d+ parameters.\nIts validation loss is (\S+), (\S+) % below Adam's (\S+):", out
    )
    sizes, loss, share, adam = found.groups()
    assert sizes == "-".join(map(str, trainer.layer_sizes))
    assert float(loss) == pytest.approx(np.nanmin(trainer.history.validation_loss), rel=1e-3)
    assert float(share) == pytest.approx(100 * (1 - float(loss) / float(adam)), rel=1e-2)
    rmse = model.scores["root mean squared error"]["validation"]
    assert rmse == pytest.approx(model.target.spread * np.sqrt(2 * float(loss)), rel=1e-3)
    assert f"{trainer.epochs_trained} epochs; the model is the net after epoch" in out

    assert main(("predict", "model.safetensors", "t.csv", "--out", "p.csv")) == 0
    error = pd.read_csv("p.csv")["y"] - table["y"]
    assert np.sqrt((error**2).mean()) < 2 * rmse
    assert main(("info", "model.safetensors")) == 0
    assert sizes in capsys.readouterr().out


def test_adams_net_is_kept_where_it_wins(capsys, monkeypatch):
    run(capsys, "--optimizer", "adam")
    alone = load()[0].parameters.copy()
    monkeypatch.setattr(training, "_validation_loss", lambda *given: 2.0)
    out, _ = run(capsys)
    assert LOSES in out
    assert "% above Adam's" in out
    np.testing.assert_array_equal(load()[0].parameters, alone)


def test_the_same_command_gives_the_same_net(capsys):
    nets = []
    for _ in range(2):
        run(capsys)
        nets.append(load()[0].parameters.copy())
    np.testing.assert_array_equal(*nets)
    assert run(capsys, "--quiet") == ("", "")


@pytest.mark.parametrize(
    "options",
    [
        ("--hidden", "64,32"),
        ("--activation", "relu"),
        ("--optimizer", "adam"),
        ("--learning-rate", "0.003"),
        ("--batch-size", "16"),
        ("--validation", "0"),
        ("--validation", "0.05"),
        ("--task", "classification"),
        ("--text", "a"),
    ],
)
def test_it_is_not_tried_where_the_user_chose_or_it_does_not_suit(options, capsys, table):
    if "classification" in options:
        table.round({"y": -4}).to_csv("t.csv", index=False)
    if "--text" in options:
        table.round({"a": 0}).to_csv("t.csv", index=False)
    out, _ = run(capsys, *options, "--epochs", "2")
    assert "Levenberg" not in out
    assert load()[0].optimizer.name == "adam"


def test_it_is_not_tried_where_it_would_take_long(capsys, monkeypatch):
    monkeypatch.setattr(training, "LM_WORK", 1e6)
    assert "Levenberg" not in run(capsys)[0]


@pytest.mark.parametrize("given", [(), ("--weight-decay", "0.5")])
def test_weight_decay(given, capsys, monkeypatch):
    tried = []
    monkeypatch.setattr(training, "_validation_loss", lambda net, *_: tried.append(net) or 1.0)
    run(capsys, *given)
    found = {(net.layer_sizes[1], net.weight_decay, net.seed) for net in tried}
    decays = (0.5,) if given else (1 / 80, 0.01 / 80)
    assert found == {(k, decay, seed) for k in (5, 10) for decay in decays for seed in (0, 1)}


def test_ctrl_c_keeps_adams_net(capsys, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_validation_loss", interrupted)
    _, err = run(capsys, code=130)
    assert "epochs is in model.safetensors" in err
    assert load()[0].optimizer.name == "adam"


def test_nets_that_diverge_are_not_kept(capsys, monkeypatch):
    fit = training.fit

    def diverges(trainer, *given, **more):
        if trainer.optimizer.name == "lm":
            raise RefusedError("training diverged")
        fit(trainer, *given, **more)

    monkeypatch.setattr(training, "fit", diverges)
    assert "Levenberg" not in run(capsys)[0]
    assert load()[0].optimizer.name == "adam"


@pytest.mark.parametrize(
    ("options", "sizes", "activation"),
    [
        ((), (2, 10, 1), ("tanh",)),
        (("--hidden", "4,3", "--activation", "softplus"), (2, 4, 3, 1), ("softplus",) * 2),
        (("--hidden", "none"), (2, 1), ()),
        (("--dtype", "float64", "--validation", "0"), (2, 10, 1), ("tanh",)),
    ],
)
def test_it_can_be_asked_for(options, sizes, activation, capsys):
    out, _ = run(capsys, "--optimizer", "lm", *options)
    trainer, _ = load()
    assert (trainer.layer_sizes, trainer.activation) == (sizes, activation)
    assert trainer.optimizer.name == "lm"
    assert "Levenberg" not in out


def test_bayesian_regularization_has_a_small_net_too_and_no_weight_decay(capsys):
    run(capsys, "--optimizer", "bayesian", "--epochs", "3")
    trainer, _ = load()
    assert (trainer.layer_sizes, trainer.activation) == ((2, 10, 1), ("tanh",))
    assert (trainer.optimizer.name, trainer.weight_decay) == ("bayesian", 0.0)
    _, err = run(capsys, "--optimizer", "bayesian", "--weight-decay", "0.1", code=2)
    assert "weight_decay must be 0" in err


def test_what_it_does_not_take_is_refused(capsys):
    for options, message in (
        (("--learning-rate", "0.1"), "learning_rate must be None"),
        (("--batch-size", "5"), "batch_size must be"),
        (("--hidden", "9000"), "20,000 parameters"),
    ):
        _, err = run(capsys, "--optimizer", "lm", *options, code=2)
        assert message in err
        assert not Path("model.safetensors").exists()
