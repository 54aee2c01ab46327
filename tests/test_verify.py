"""``jitprop verify`` trains a table of 264 nets, whose results have the published bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitprop
from jitprop.backends import compiled, plans, prepared
from jitprop.cli import machine, verify
from jitprop.fleet import choice
from jitprop.net.initializers import WEIGHTS
from jitprop.net.second_order import BayesianRegularization, LevenbergMarquardt
from jitprop.net.spec import OUTPUT_ACTIVATIONS, make_spec
from jitprop.proof import nets, published, speed

TABLE = nets.table()
SECONDS = 300
TRAINERS = "lanes", "blocks", "chunks"
FULL_BATCH = "full batch"


def differing(chosen: list[nets.Net], n_threads: int | None = None) -> list[str]:
    expected = published.read().hashes
    found = published.computed(chosen, n_threads)
    return [str(net) for net, digits in found if digits != expected[net.name]]


def test_some_nets_have_the_published_bits() -> None:
    assert not differing(TABLE[::8])


@pytest.mark.long
@pytest.mark.parametrize("n_threads", [None, 1, 2, 3])
def test_all_nets_have_the_published_bits(n_threads: int | None) -> None:
    assert not differing([*TABLE, *nets.estimators()], n_threads)


def route_of(net: nets.Net) -> str:
    """Return "lanes", "blocks" or "chunks" for a trainer; "fleet" or "wide fleet" for a fleet."""
    s = net.settings
    names = "layer_sizes", "output_activation", "loss", "optimizer", "batch_size", "clip_norm"
    spec = make_spec(**{name: s[name] for name in names})
    n, dtype = s["samples"], np.dtype(s["dtype"])
    if "members" in s:
        in_lanes = choice.fits_lanes(spec, n) and choice.has_lanes(spec)
        return "fleet" if in_lanes else "wide fleet"
    if prepared.prepare(spec, n, dtype, 1, 1).plan.chunk:
        return "chunks"
    return "lanes" if plans.uses_lanes(spec, spec.batch(n) * dtype.itemsize) else "blocks"


@pytest.mark.parametrize("kind", [*TRAINERS, "fleet", "wide fleet"])
def test_nets_take_the_route_that_their_names_say(kind: str) -> None:
    for net in (net for net in TABLE if net.kind == kind):
        assert route_of(net) == kind, net


@pytest.mark.parametrize(
    ("kind", "routes"),
    [("form", {"lanes", "blocks"}), ("fleet of a form", {"fleet", "wide fleet"})],
)
def test_forms_of_optimizers_take_several_routes(kind: str, routes: set[str]) -> None:
    assert {route_of(net) for net in TABLE if net.kind == kind} == routes


def values(name: str, *kinds: str) -> set[str]:
    chosen = [net for net in TABLE if not kinds or net.kind in kinds]
    return {str(net.settings[name]) for net in chosen if name in net.settings}


def test_the_table_has_everything_that_the_promise_names() -> None:
    assert len(TABLE) == len({net.name for net in TABLE}) == 264
    for kind in ("lanes", "blocks", "fleet"):
        of_kind = [net for net in TABLE if net.kind == kind]
        assert {net.settings["dtype"] for net in of_kind} == {"float32", "float64"}
        assert values("loss", kind) == set(map(str, nets.LOSSES)), kind
        assert values("activation", kind) == {*nets.ACTIVATIONS, *nets.NEWER}, kind
        assert values("reduction", kind) == {"mean", "sum"}
        schedules = {type(net.settings["learning_rate"]).__name__ for net in of_kind}
        assert {"float", "Step", "Exponential", "InverseScaling", "Cosine", "OneCycle"} <= schedules
        assert {net.settings["weighted"] for net in of_kind} == {True, False}
        assert {net.settings["dropout"] > 0 for net in of_kind} == {True, False}
    # hard_sigmoid is a sum, a quotient and comparisons, which have the same bits everywhere.
    assert values("output_activation") == {*OUTPUT_ACTIVATIONS} - {"hard_sigmoid"}
    for kind in ("form", "fleet of a form"):
        assert values("optimizer", kind) == {str(optimizer) for optimizer, _ in nets.FORMS}
        assert {net.settings.get("decay_biases") for net in TABLE if net.kind == kind} == {
            True, None,
        }  # fmt: skip
    for kind in ("lanes", "blocks"):
        assert values("optimizer", kind) == {str(optimizer) for optimizer, _ in nets.OPTIMIZERS}
        assert values("clip_norm", kind) == {"None", "0.3"}
        assert values("fit", kind) == set(nets.FITS)
    assert values("init") == set(WEIGHTS)
    assert values("members") == {"1", "3", "5", "20", "40"}
    assert "ReduceOnPlateau" in {type(net.settings["learning_rate"]).__name__ for net in TABLE}


def test_full_batches_have_all_methods_losses_and_routes() -> None:
    chosen = [net.settings for net in TABLE if net.kind == FULL_BATCH]
    assert len(chosen) == len(nets.FULL_BATCH)
    seen: dict[str, set[Any]] = {}
    for s in chosen:
        names = "layer_sizes", "output_activation", "loss", "optimizer", "weight_decay"
        spec = make_spec(**{name: s[name] for name in names})
        net, method = (
            compiled.prepare(spec, s["samples"], np.dtype(s["dtype"]), 1, 1),
            s["optimizer"],
        )
        places = net.method.before if net.method is not None else ()
        dual = bool(places) and places[0].dual
        several = s["layer_sizes"][-1] > 1
        found = {
            "dtype": s["dtype"], "route": net.route, "dual": dual, "fleet": "members" in s,
            "weighted": s["weighted"], "several outputs": several, "decay": s["weight_decay"] > 0,
        }  # fmt: skip
        for name, value in [*found.items(), ("fit", s["fit"]), ("loss", spec.loss.name)]:
            seen.setdefault(f"{method.name} {name}", set()).add(value)
    both = {True, False}
    for name in ("lm", "bayesian", "scg", "lbfgs", "rprop"):
        assert seen[f"{name} dtype"] == {"float32", "float64"}, name
        assert len(seen[f"{name} route"]) == 2, name
        assert seen[f"{name} fleet"] == both, name
    for name in ("lm", "bayesian", "scg", "lbfgs"):
        assert seen[f"{name} weighted"] == both, name
        assert seen[f"{name} decay"] == ({False} if name == "bayesian" else both), name
    assert seen["lm dual"] == seen["lm several outputs"] == both
    assert seen["lm loss"] == set(LevenbergMarquardt.losses)
    assert seen["bayesian loss"] == set(BayesianRegularization.losses)
    gradients = seen["scg loss"] | seen["lbfgs loss"] | seen["rprop loss"]
    assert gradients == {loss if isinstance(loss, str) else loss.name for loss in nets.LOSSES}
    fits = set().union(*(found for name, found in seen.items() if name.endswith(" fit")))
    assert fits == {"plain", "two fits", "early stopping", "validation", "metrics"}


def test_every_result_counts() -> None:
    named = dict(nets.results(TABLE[0]))
    assert {"parameters", "loss", "predictions", "evaluated", "gradient"} <= set(named)
    for name, numbers in named.items():
        array = np.array(numbers)
        assert np.isfinite(array).all(), name
        array.reshape(-1).view(np.uint8)[0] ^= 1
        changed = {**named, name: array}
        assert nets.hash_of(iter(changed.items())) != nets.hash_of(iter(named.items()))


def test_big_endian_numbers_have_the_same_hash() -> None:
    numbers = np.array([0.5, 3.0])
    found = [nets.hash_of(iter([("loss", numbers.astype(order))])) for order in ("<f8", ">f8")]
    assert found[0] == found[1]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nets, "table", lambda: TABLE[::66])
    monkeypatch.setattr(nets, "estimators", list)


@pytest.mark.usefixtures("few")
def test_the_command_says_that_all_is_equal(capsys: Any) -> None:
    assert verify.main(timed=False) == 0
    out, err = capsys.readouterr()
    assert not err
    assert "4 of 4 nets gave the published bits" in out
    assert "0 of 0 estimators gave the published bits" in out
    assert published.read().table in out
    assert f"{'jitprop':{machine.WIDTH}}  {jitprop.__version__}" in out
    assert "processor" in out
    assert "kernels" in out
    assert "Other bits" not in out


@pytest.mark.usefixtures("few")
def test_one_changed_bit_is_found_and_named(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, results = nets.table()[2], nets.results

    def changed(net: nets.Net, n_threads: int | None = None) -> nets.Results:
        for name, numbers in results(net, n_threads):
            array = np.array(numbers)
            if net == chosen and name == "predictions":
                array.reshape(-1).view(np.uint8)[0] ^= 1
            yield name, array

    monkeypatch.setattr(nets, "results", changed)
    assert verify.main(timed=False) == verify.DIFFERENT == 1
    out = capsys.readouterr().out
    assert "3 of 4 nets gave the published bits" in out
    assert f"Other bits: {chosen.name}.\n" in out
    assert f"not {published.read().hashes[chosen.name]}: {chosen.name}: layer_sizes=" in out


@pytest.mark.usefixtures("few")
def test_the_speed_stands_beside_the_published_one(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "RACES", speed.RACES[:2])
    assert verify.main() == 0
    out = capsys.readouterr().out
    found = published.read().speed
    for race in speed.RACES:
        line = next(line for line in out.splitlines() if line.startswith(str(race)))
        assert float(line.split()[-1]) == found["ratios"][str(race)]
    assert f"Published: {found['date']}, {found['machine']}." in out


def test_a_net_that_diverges_has_other_bits() -> None:
    net = TABLE[0]
    linear = dict.fromkeys(("activation", "output_activation"), "identity")
    wild = {**net.settings, **linear, "loss": "squared_error", "optimizer": "sgd", "dropout": 0.0}
    chosen = [nets.Net(net.name, {**wild, "learning_rate": 1e30, "fit": "plain"})]
    assert [found for _, found in published.computed(chosen)] == ["diverged"]


WITHOUT = """
import sys
for name in {missing}:
    sys.modules[name] = None
from jitprop.cli import main
from jitprop.proof import nets
table = nets.table()[::70]
nets.table, nets.estimators = lambda: table, lambda: []
sys.exit(main(["verify"]))
"""


def run(*missing: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(missing=missing)],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_the_command_needs_no_extra() -> None:
    done = run("click")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 nets" in done.stdout


def test_without_numba_and_prebuilt_kernels_it_says_so(tmp_path: Path) -> None:
    # No kernel was ever compiled with this option.
    done = run("numba", NUMBA_OPT="2", HOME=str(tmp_path), NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr.startswith("error: backend='numba' needs a working numba")
    assert "only the compiled kernels have published bits" in done.stderr


@pytest.mark.parametrize("command", ["verify", "warmup"])
def test_an_unknown_compiler_is_one_line(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jitprop", command],
        env=os.environ | {"JITPROP_COMPILER": "fast"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "error: JITPROP_COMPILER must be 'own' or 'plain', not 'fast'" in done.stderr


def test_a_closed_pipe_does_not_count_as_other_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*args: Any) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(verify, "_main", closed)
    read, write = os.pipe()
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert verify.main() == verify.FAILED
    os.close(read)
