"""Bad input to a fleet: the error says what was expected, and nothing changes."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

from jitprop import SGD, Callback, Cosine, CrossEntropy, EarlyStopping, Fleet, ReduceOnPlateau

X, Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


def one_wrong(shape, place, value):
    array = np.zeros(shape)
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": 0}, "members must be an integer of at least 1; got 0"),
        ({"members": 10**7}, "members must be an integer from 1 to 1,000,000; got 10000000"),
        ({"members": 3.0}, "members must be an integer"),
        ({"members": 10**6, "layer_sizes": [10**9, 1]}, "members asks for 8e+15 bytes of memory"),
        ({"learning_rate": [0.1, 0.2]}, "learning_rate must be one value, or one for each of the 3 "
         "members; got 2 values"),
        ({"learning_rate": [0.1, 0.2, -1.0]}, "learning_rate[2] must be a finite number above 0"),
        ({"learning_rate": [[0.1], [0.2], [0.3]]}, "learning_rate[0] must be a finite number"),
        ({"learning_rate": ReduceOnPlateau(0.1)}, "learning_rate cannot be a ReduceOnPlateau"),
        ({"learning_rate": Cosine(0.1, 9), "optimizer": "rprop"}, "learning_rate must be a number"),
        ({"weight_decay": np.zeros((3, 1))}, "weight_decay must be one value, or (3,) values, one "
         "for each of the 3 members; got shape (3, 1)"),
        ({"weight_decay": [0, -1, 0]}, "weight_decay[1] must be a finite number at least 0"),
        ({"momentum": [0.5, 0.5]}, "momentum must be one value, or one for each of the 3 members"),
        ({"momentum": 0.5, "optimizer": "adam"}, "momentum is a setting of SGD; the opt"),
        ({"momentum": [0.0, 0.5, 0.5], "optimizer": SGD(0.5, nesterov=True)}, "nesterov=True"),
        ({"dropout": [0.1, 0.2]}, "dropout must be one value, or one for each of the 3 members"),
        ({"dropout": [[0.1], [0.2]]}, "dropout must be one number, 3 numbers, one for each member"),
        ({"dropout": [[0.1], [0.2], 0.3]}, "dropout must be an array of numbers"),
        ({"seed": [1, 2]}, "seed must be one value, or one for each of the 3 members"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"seed": [1, 2, 0.5]}, "seed[2] must be an integer"),
        ({"init": ([np.zeros((2, 2, 3)), np.zeros((3, 1))], [[0] * 3, [0]])}, "weights[0] must "
         "have shape (2, 3), or (3, 2, 3) for each of the 3 members; got shape (2, 2, 3)"),
        ({"init": ([np.zeros((2, 3))], [[0] * 3, [0]])}, "weights must have 2 arrays; got 1"),
        ({"init": 3}, "init must be a name"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        Fleet(**{"layer_sizes": [2, 3, 1], "members": 3, **arguments})


WRONG_X = (
    "X must have shape (n_samples, 2), or, with one for each of the 3 members, (3, n_samples, 2), "
    "and at least one sample: layer_sizes begins with 2; got shape "
)
WRONG_Y = (
    "y must have shape (4, 1) or (4,), or, with one for each of the 3 members, (3, 4, 1) or "
    "(3, 4): X has 4 samples, and layer_sizes and loss make n_targets 1; got shape "
)
WRONG_WEIGHT = (
    "sample_weight must have shape (4,), or, with one row for each of the 3 members, (3, 4): X has "
    "4 samples; got shape "
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((2, 4, 2))}, WRONG_X + "(2, 4, 2)"),
        ({"X": np.zeros((3, 4, 5))}, WRONG_X + "(3, 4, 5)"),
        ({"X": np.zeros((3, 0, 2))}, WRONG_X + "(3, 0, 2)"),
        ({"X": np.zeros(4)}, WRONG_X + "(4,)"),
        ({"X": np.zeros((4, 3))}, "X must have 2 columns, as layer_sizes says; got shape (4, 3)"),
        ({"X": one_wrong((3, 4, 2), (1, 2, 0), np.nan)}, "X[2, 0] is nan (of member 1)"),
        ({"y": np.zeros((2, 4))}, WRONG_Y + "(2, 4)"),
        ({"y": np.zeros((2, 4, 1))}, WRONG_Y + "(2, 4, 1)"),
        ({"y": np.zeros((3, 5))}, WRONG_Y + "(3, 5)"),
        ({"y": np.zeros((3, 4, 2))}, WRONG_Y + "(3, 4, 2)"),
        ({"y": np.zeros(5)}, WRONG_Y + "(5,)"),
        ({"y": one_wrong((3, 4), (2, 1), np.inf)}, "y[1, 0] is inf (of member 2)"),
        ({"sample_weight": np.ones((2, 4))}, WRONG_WEIGHT + "(2, 4)"),
        ({"sample_weight": np.ones((3, 5))}, WRONG_WEIGHT + "(3, 5)"),
        ({"sample_weight": np.ones(3)}, WRONG_WEIGHT + "(3,)"),
        ({"sample_weight": one_wrong((3, 4), 1, 1)}, "sum to 0 (of member 0)"),
        ({"sample_weight": one_wrong((3, 4), (2, 3), -1) + 1e-3}, "sample_weight[3] is -0.999 (of "
         "member 2)"),
        ({"sample_weight": one_wrong((3, 4), (1, 0), np.nan) + 1}, "is nan (of member 1)"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"epochs": 10**13}, "epochs asks for 2.4e+14 bytes of memory"),
        ({"epochs": 10**30}, "epochs asks for"),
        ({"validation_data": (X[:0], Y[:0])}, "in validation_data, X must have at least"),
        ({"validation_data": (X, np.zeros((2, 4)))}, "in validation_data, " + WRONG_Y + "(2, 4)"),
        ({"callbacks": EarlyStopping()}, "EarlyStopping monitors 'validation_loss', which this fit "
         "does not have; it needs validation data; it has loss"),
        ({"callbacks": EarlyStopping("accuracy")}, "EarlyStopping monitors 'accuracy'"),
        ({"callbacks": [EarlyStopping("loss")] * 2}, "callbacks may hold one EarlyStopping; got 2"),
        ({"callbacks": 3}, "callbacks must be a list of"),
        ({"progress": 1}, "progress must be True or False"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bad_data_name_the_member_count_and_change_nothing(arguments, message, dtype):
    fleet = Fleet([2, 3, 1], members=3, seed=0)
    before = pickle.dumps(fleet)
    arguments = {"X": X, "y": Y, "epochs": 1, **arguments}
    arguments["X"] = arguments["X"].astype(dtype)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        fleet.fit(**arguments)
    assert pickle.dumps(fleet) == before


def test_labels_of_one_member_are_named():
    arguments = {"members": 3, "output_activation": "softmax"}
    fleet = Fleet([2, 3], loss="cross_entropy", **arguments)
    labels = np.array([[0, 1, 2, 0], [0, 1, 2, 0], [0, 1, 5, 0]])
    with pytest.raises(ValueError, match=re.escape("y[2] is 5 (of member 2)")):
        fleet.fit(X, labels, 1)
    message = re.escape(
        "y must have shape (4, 3) or (4,) or (4, 1), or, with one for each of the 3"
    )
    with pytest.raises(ValueError, match=message):
        fleet.fit(X, labels[:2], 1)
    fleet = Fleet([2, 3], loss=CrossEntropy(class_weight=[0, 1, 1]), **arguments)
    with pytest.raises(ValueError, match=r"all samples have the weight 0 \(of member 1\)"):
        fleet.fit(X, [[0, 1, 2, 0], [0] * 4, [1] * 4], 1)


class FailsFirst(Callback):
    def on_fit_begin(self, trainer):
        raise RuntimeError("not today")


def test_a_fit_that_never_began_settles_no_dtype():
    fleet = Fleet([2, 3, 1], members=3, seed=0)
    before = pickle.dumps(fleet)
    with pytest.raises(RuntimeError, match="not today"):
        fleet.fit(X.astype(np.float32), Y, 2, callbacks=FailsFirst())
    assert pickle.dumps(fleet) == before
    fleet.fit(X, Y, 2)
    ref = Fleet([2, 3, 1], members=3, seed=0)
    ref.fit(X, Y, 2)
    np.testing.assert_array_equal(fleet.parameters, ref.parameters)
    assert fleet.parameters.dtype == np.float64


def test_a_fit_within_a_fit_is_refused():
    fleet, copies = Fleet([2, 3, 1], members=3, seed=0), []

    def again(fleet, epoch, logs):
        copies.extend([copy.deepcopy(fleet), fleet[:], pickle.loads(pickle.dumps(fleet))])
        fleet.fit(X, Y, 1)

    with pytest.raises(RuntimeError, match="this fleet is in a fit already"):
        fleet.fit(X, Y, 3, callbacks=again)
    for one in (fleet, *copies):
        assert one.epochs_trained.tolist() == [1, 1, 1]
        one.fit(X, Y, 1)
        np.testing.assert_array_equal(one.parameters, fleet.parameters)


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (3, IndexError, "member 3 of a fleet of 3"),
        (-4, IndexError, "member -4 of a fleet of 3"),
        (slice(3, None), IndexError, "select members by a list of at least one"),
        ([], IndexError, "select members by a list of at least one"),
        ([0, 3], IndexError, "3 is out of bounds"),
        ([True, False], IndexError, "boolean index did not match"),
        (np.array([[0, 1]]), IndexError, r"got shape \(1, 2\)"),
        (1.0, TypeError, r"the 3 members are fleet\[i\].*; got 1.0 \(float\)"),
        (None, TypeError, "got None"),
        ((0, 1), TypeError, r"got \(0, 1\)"),
        ("a", TypeError, "got 'a'"),
    ],
)
def test_bad_keys(key, error, message):
    with pytest.raises(error, match=message):
        Fleet([2, 3, 1], members=3, seed=0)[key]
