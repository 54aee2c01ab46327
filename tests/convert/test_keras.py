"""
Files of Keras 3, written here by hand.

`tests/interop/test_keras.py` reads those that Keras itself writes.
"""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, Fleet, LeakyReLU, RMSprop, Step, Trainer, convert
from jitprop.net.losses import CrossEntropy, HalfSquaredError, SquaredError

X = np.random.default_rng(0).normal(size=(8, 3))
RNG = np.random.default_rng(1)
ARRAYS = [RNG.normal(size=shape) for shape in [(3, 4), (4,), (4, 2), (2,)]]


def layer(kind, name, module="keras.layers", **config):
    return {"module": module, "class_name": kind, "config": {"name": name, **config}}


def dense(name, units, activation="linear", **config):
    own = {"units": units, "activation": activation, "use_bias": True}
    return layer("Dense", name, **own | config)


INPUT = layer("InputLayer", "given", batch_shape=[None, 3])
LAYERS = [INPUT, dense("dense_7", 4, "tanh"), dense("last", 2)]
SGD_CONFIG = {"learning_rate": 0.25, "momentum": 0.0, "nesterov": False, "weight_decay": None}


def optimizer(kind, **config):
    return {"module": "keras.optimizers", "class_name": kind, "config": config}


def keras_file(
    path, layers=LAYERS, arrays=ARRAYS, compiled=None, state=(), kind="Sequential", **entries
):
    """Write a .keras file; ``arrays`` are those of its Dense layers, in order."""
    config = {
        "module": "keras",
        "class_name": kind,
        "config": {"name": "net", "layers": layers},
        "compile_config": compiled,
    }
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        left, number = list(arrays), 0
        for each in layers:
            if each["class_name"] != "Dense":
                continue
            group = file.create_group(f"layers/dense{f'_{number}' if number else ''}/vars")
            number += 1
            for i in range(1 + each["config"]["use_bias"]):
                group[str(i)] = left.pop(0)
        group = file.create_group("optimizer/vars")
        for i, array in enumerate(state):
            group[str(i)] = array
    contents = {
        "metadata.json": json.dumps({"keras_version": "3.15.1"}),
        "config.json": json.dumps(config),
        "model.weights.h5": held.getvalue(),
    } | {name.replace("__", "."): content for name, content in entries.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.keras"


def test_parameters_activations_and_dtype(path):
    trainer = convert.from_keras(keras_file(path))
    assert trainer.layer_sizes == (3, 4, 2)
    assert (trainer.activation, trainer.output_activation) == (("tanh",), "identity")
    assert trainer.dtype == np.float64
    for found, given in zip(convert.to_keras_weights(trainer), ARRAYS, strict=True):
        assert np.array_equal(found, given)
    single = [array.astype(np.float32) for array in ARRAYS]
    assert convert.from_keras(keras_file(path, arrays=single)).dtype == np.float32


def test_to_keras_weights_are_copies():
    trainer = Trainer([2, 1], seed=0)
    convert.to_keras_weights(trainer)[0][:] = 0
    assert trainer.weights[0].any()
    with pytest.raises(TypeError, match="trainer must be a Trainer; got 5"):
        convert.to_keras_weights(5)


def test_layers_are_read_in_their_order(path):
    layers = [
        INPUT,
        layer("Flatten", "flat"),
        dense("a", 4),
        layer("LeakyReLU", "b", negative_slope=0.125),
        layer("Dropout", "c", rate=0.25),
        layer("Dropout", "d", rate=0.0),
        dense("e", 2, layer("ELU", "f", alpha=1.0)),
    ]
    trainer = convert.from_keras(keras_file(path, layers))
    assert trainer.activation == (LeakyReLU(0.125),)
    assert trainer.output_activation == "elu"
    assert trainer.dropout == (0.25,)


def call(name):
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
    return [{"args": [tensor], "kwargs": {"training": None}}]


def functional(path, changes=None, **others):
    layers = [
        INPUT | {"name": "given", "inbound_nodes": []},
        dense("two", 2) | {"name": "two", "inbound_nodes": call("one")},
        dense("one", 4, "tanh") | {"name": "one", "inbound_nodes": call("given")},
    ]
    for name, nodes in (changes or {}).items():
        next(each for each in layers if each["name"] == name)["inbound_nodes"] = nodes
    config = {
        "module": "keras",
        "class_name": "Functional",
        "config": {"name": "net", "layers": layers, "output_layers": ["two", 0, 0]} | others,
    }
    arrays = [*ARRAYS[2:], *ARRAYS[:2]]
    return keras_file(path, layers, arrays, config__json=json.dumps(config))


def test_a_functional_model_is_read_from_its_input_to_its_output(path):
    trainer = convert.from_keras(functional(path))
    expected = convert.from_keras(keras_file(path.with_name("other.keras")))
    assert np.array_equal(trainer.predict(X), expected.predict(X))


def test_a_functional_model_with_branches_is_refused(path):
    two = call("one") + call("given")
    for changes, message in (
        ({"one": two}, "each used once with one input; layer 'one' has others"),
        ({"one": call("nobody")}, "is not a chain of layers, at 'nobody'"),
        ({"one": call("two")}, "is not a chain of layers, at 'two'"),
        ({"two": call("given")}, "must be a chain of layers; 'one' stand"),
        ({"one": [{"args": []}]}, "layer 'one' has others"),
        ({"one": None}, "layer 'one' has others"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.from_keras(functional(path, changes))
    with pytest.raises(ValueError, match="must have one of output_layers"):
        convert.from_keras(functional(path, output_layers=[["one", 0, 0], ["two", 0, 0]]))


def test_a_layer_without_biases_keeps_them_at_0(path):
    layers = [INPUT, dense("a", 4, "tanh", use_bias=False), dense("b", 2)]
    trainer = convert.from_keras(keras_file(path, layers, [ARRAYS[0], *ARRAYS[2:]]))
    trainer.fit(X, np.ones((8, 2)), epochs=3)
    assert not trainer.biases[0].any()
    assert not np.array_equal(trainer.weights[0], ARRAYS[0])


# Training.


def test_the_mean_over_outputs_becomes_a_rate(path):
    layers = [INPUT, dense("a", 4, "tanh"), dense("b", 5)]
    arrays = [*ARRAYS[:2], RNG.normal(size=(4, 5)), RNG.normal(size=5)]
    compiled = {"optimizer": optimizer("SGD", **SGD_CONFIG), "loss": "mse"}
    trainer = convert.from_keras(keras_file(path, layers, arrays, compiled))
    assert (trainer.optimizer, trainer.loss) == (SGD(), SquaredError())
    assert trainer.learning_rate == 0.25 / 5
    two = convert.from_keras(keras_file(path, compiled=compiled))
    assert (two.loss, two.learning_rate) == (HalfSquaredError(), 0.25)


def test_settings_of_optimizers(path):
    common = {"learning_rate": 0.25, "weight_decay": None, "global_clipnorm": None}
    adam = {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-7, "amsgrad": False}
    rms = {"rho": 0.75, "momentum": 0.5, "epsilon": 1e-7, "centered": False}
    for given, expected in (
        (("SGD", {"momentum": 0.5, "nesterov": True}), SGD(0.5, nesterov=True)),
        (("Adam", adam), Adam(0.5, 0.75, 1e-7, epsilon_hat=True)),
        (("AdamW", adam | {"weight_decay": 0.5}), AdamW(0.5, 0.75, 1e-7, epsilon_hat=True)),
        (("Adam", adam | {"weight_decay": 0.5}), AdamW(0.5, 0.75, 1e-7, epsilon_hat=True)),
        (("RMSprop", rms), RMSprop(0.75, 0.5, 1e-7, epsilon_in_root=True)),
    ):
        kind, config = given
        compiled = {"optimizer": optimizer(kind, **common | config), "loss": "mse"}
        trainer = convert.from_keras(keras_file(path, compiled=compiled))
        assert trainer.optimizer == expected
        assert trainer.learning_rate == 0.25
        assert (trainer.weight_decay, trainer.decay_biases) == (
            (0.5, True) if config.get("weight_decay") else (0.0, False)
        )
    config = common | {"momentum": 0.0, "weight_decay": 0.5, "global_clipnorm": 2.0}
    compiled = {"optimizer": optimizer("SGD", **config), "loss": "mse"}
    trainer = convert.from_keras(keras_file(path, compiled=compiled))
    assert (trainer.weight_decay, trainer.decay_biases, trainer.clip_norm) == (0.5, True, 2.0)


def test_the_state_of_adam(path):
    adam = {"learning_rate": 0.25, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-7}
    compiled = {"optimizer": optimizer("Adam", **adam), "loss": "mse"}
    pairs = [(2 * array, array**2) for array in ARRAYS]
    state = [np.int32(7), 0.25, *(each for pair in pairs for each in pair)]
    trainer = convert.from_keras(keras_file(path, compiled=compiled, state=state))
    slots = trainer._model.state.slots
    flat = np.concatenate([array.ravel() for array in ARRAYS])
    assert np.array_equal(slots, [2 * flat, flat**2])
    assert trainer._model.state.updates == 7
    trainer.save(path.with_name("net.jitprop"))
    again = Trainer.load(path.with_name("net.jitprop"))
    for each in (trainer, again):
        each.fit(X, np.ones((8, 2)), epochs=2)
    assert np.array_equal(again.parameters, trainer.parameters)


def test_rmsprop_adds_what_keras_subtracts(path):
    rms = {"learning_rate": 0.25, "rho": 0.75, "momentum": 0.5, "epsilon": 1e-7}
    compiled = {"optimizer": optimizer("RMSprop", **rms), "loss": "mse"}
    state = [np.int32(7), 0.25, *(array**2 for array in ARRAYS), *ARRAYS]
    trainer = convert.from_keras(keras_file(path, compiled=compiled, state=state))
    flat = np.concatenate([array.ravel() for array in ARRAYS])
    assert np.array_equal(trainer._model.state.slots, [flat**2, -flat])


def test_an_optimizer_that_did_no_update_has_no_state(path):
    compiled = {"optimizer": optimizer("SGD", **SGD_CONFIG | {"momentum": 0.5}), "loss": "mse"}
    for state in ((), [np.int32(0), 0.25], [np.int32(0), 0.25, *ARRAYS]):
        trainer = convert.from_keras(keras_file(path, compiled=compiled, state=state))
        assert not trainer._model.state.slots.any()


def test_cross_entropies_and_logits(path):
    loss = {
        "module": "keras.losses",
        "class_name": "CategoricalCrossentropy",
        "config": {"from_logits": True, "label_smoothing": 0.125, "axis": -1, "reduction": "sum"},
    }
    compiled = {"optimizer": optimizer("SGD", **SGD_CONFIG), "loss": loss}
    trainer = convert.from_keras(keras_file(path, compiled=compiled))
    assert trainer.output_activation == "softmax"
    assert trainer.loss == CrossEntropy(label_smoothing=0.125)
    assert trainer.reduction == "sum"
    other = compiled | {"loss": "categorical_crossentropy"}
    with pytest.raises(ValueError, match="output activation softmax for its loss"):
        convert.from_keras(keras_file(path, compiled=other))


def test_bad_settings_of_a_loss_are_refused_with_the_name_of_the_file(path):
    for name, value, message in (
        ("label_smoothing", "much", "label_smoothing must be a finite number"),
        ("reduction", ["sum"], "a loss with reduction"),
        ("reduction", None, "a loss with reduction None"),
        ("axis", 0, "a loss with axis 0"),
    ):
        loss = {
            "module": "keras.losses",
            "class_name": "BinaryCrossentropy",
            "config": {"from_logits": True, name: value},
        }
        keras_file(path, compiled={"loss": loss})
        with pytest.raises(ValueError, match=f"Keras' file '.*net.keras'.*{message}"):
            convert.from_keras(path)


def test_l2_is_weight_decay(path):
    l2 = {"module": "keras.regularizers", "class_name": "L2", "config": {"l2": 0.125}}
    layers = [
        INPUT,
        dense("a", 4, "tanh", kernel_regularizer=l2),
        dense("b", 2, kernel_regularizer=l2),
    ]
    compiled = {"optimizer": optimizer("SGD", **SGD_CONFIG), "loss": "mse"}
    trainer = convert.from_keras(keras_file(path, layers, compiled=compiled))
    assert (trainer.weight_decay, trainer.decay_biases) == (0.25, False)
    with pytest.raises(ValueError, match="L2 regularizers that differ between layers"):
        convert.from_keras(keras_file(path, [*layers[:2], LAYERS[2]], compiled=compiled))


SCHEDULE = {"module": "keras.optimizers.schedules", "class_name": "CosineDecay", "config": {}}


def test_a_learning_rate_of_0_needs_another(path):
    config = SGD_CONFIG | {"learning_rate": 0.0}
    keras_file(path, compiled={"optimizer": optimizer("SGD", **config), "loss": "mse"})
    with pytest.raises(ValueError, match="must have a learning rate above 0; it has 0"):
        convert.from_keras(path)
    assert convert.from_keras(path, learning_rate=0.5).learning_rate == 0.5


def test_a_schedule_needs_a_learning_rate(path):
    config = SGD_CONFIG | {"learning_rate": SCHEDULE, "momentum": 0.5}
    compiled = {"optimizer": optimizer("SGD", **config), "loss": "mse"}
    keras_file(path, compiled=compiled, state=[np.int32(3), *ARRAYS])
    with pytest.raises(ValueError, match="schedule 'CosineDecay' as learning rate"):
        convert.from_keras(path)
    trainer = convert.from_keras(path, learning_rate=Step(0.5, every=2))
    assert trainer.learning_rate == Step(0.5, every=2)
    assert trainer._model.state.updates == 3
    assert np.array_equal(trainer._model.state.slots[0, :12], ARRAYS[0].ravel())


def test_settings_take_the_place_of_the_files(path):
    compiled = {"optimizer": optimizer("Lion", learning_rate=0.1), "loss": "log_cosh"}
    keras_file(path, compiled=compiled)
    with pytest.raises(ValueError, match="the loss 'log_cosh', which jitprop does not have: pass"):
        convert.from_keras(path)
    with pytest.raises(ValueError, match="the optimizer 'Lion', which jitprop does not have: pass"):
        convert.from_keras(path, loss="huber")
    trainer = convert.from_keras(
        path, loss="huber", optimizer="rprop", batch_size=8, seed=5, dtype="float32"
    )
    assert (trainer.optimizer.name, trainer.learning_rate) == ("rprop", 0.1)
    assert (trainer.batch_size, trainer.seed, trainer.dtype) == (8, 5, np.float32)


def test_a_list_gives_a_fleet(path):
    paths = [
        keras_file(path.with_name(f"{k}.keras"), arrays=[k * array for array in ARRAYS])
        for k in (1, 2)
    ]
    fleet = convert.from_keras(paths)
    assert isinstance(fleet, Fleet)
    for member, each in zip(fleet, paths, strict=True):
        assert np.array_equal(member.predict(X), convert.from_keras(each).predict(X))


# What is refused.

REFUSED = {
    "the layer 'a' of the class 'Lambda'": [INPUT, layer("Lambda", "a"), *LAYERS[1:]],
    "which is not Keras' own": [INPUT, layer("Dense", "a", "mine"), *LAYERS[1:]],
    "must have one input; it has more, 'given'": [*LAYERS, INPUT],
    "inputs of the shape": [layer("InputLayer", "a", batch_shape=[None, 3, 1]), *LAYERS[1:]],
    "before its first Dense layer, 'a'": [INPUT, layer("ReLU", "a"), *LAYERS[1:]],
    "Dropout of the inputs": [INPUT, layer("Dropout", "a", rate=0.5), *LAYERS[1:]],
    "Dropout behind its last layer": [*LAYERS, layer("Dropout", "a", rate=0.5)],
    "rate of 'a' must be a finite number": [*LAYERS, layer("Dropout", "a", rate="half")],
    "softmax in the hidden layer 'a'": [INPUT, dense("a", 4, "softmax"), LAYERS[2]],
    "the activation 'relu6' in layer 'a'": [INPUT, dense("a", 4, "relu6"), LAYERS[2]],
    r"the activation \['relu'\] in layer 'a'": [INPUT, dense("a", 4, ["relu"]), LAYERS[2]],
    "has in layer 'a': alpha must be a finite number above 0": [
        INPUT,
        layer("Dense", "d", units=4, activation="linear", use_bias=True),
        layer("ELU", "a", alpha=-1.0),
        LAYERS[2],
    ],
    "must have a Dense layer": [INPUT],
    "must have layers": [],
    "must have an object as layer 0": [7],
    r"weights of the shape \(n_in, 5\) in layer 'a'": [INPUT, dense("a", 5), LAYERS[2]],
    "activity_regularizer in layer 'a'": [
        INPUT,
        dense("a", 4, activity_regularizer={"class_name": "L2"}),
        LAYERS[2],
    ],
    "the dtype 'mixed_bfloat16' in layer 'a'": [
        INPUT,
        dense("a", 4, dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}),
        LAYERS[2],
    ],
    "the dtype 7 in layer 'a'": [INPUT, dense("a", 4, dtype=7), LAYERS[2]],
    "lora_rank in layer 'a'": [INPUT, dense("a", 4, lora_rank=2), LAYERS[2]],
}


@pytest.mark.parametrize("message", REFUSED)
def test_other_layers_are_refused_by_name(path, message):
    layers = REFUSED[message]
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}
    keras_file(path, config__json=json.dumps(config))
    with pytest.raises(ValueError, match=f"Keras' file '.*net.keras'.*{message}"):
        convert.from_keras(path)


def test_arrays_that_do_not_fit_are_refused(path):
    for arrays, message in (
        ([ARRAYS[0], ARRAYS[3], *ARRAYS[2:]], r"biases of the shape \(4,\) in layer 'dense_7'"),
        ([ARRAYS[0].ravel(), *ARRAYS[1:]], "weights of the shape"),
        ([np.full((3, 4), np.nan), *ARRAYS[1:]], "layer 'dense_7' has inf or nan"),
        ([ARRAYS[0].astype(np.float16), *ARRAYS[1:]], "float32 or float64 in layer 'dense_7'"),
        ([np.zeros((3, 4), "S3"), *ARRAYS[1:]], "arrays of numbers in layer 'dense_7'"),
        ([*ARRAYS[:2], np.ones((5, 2)), ARRAYS[3]], "4 inputs in layer 'last'"),
        ([a.astype(np.float32) for a in ARRAYS[:2]] + ARRAYS[2:], "one dtype in all layers"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.from_keras(keras_file(path, arrays=arrays))


def test_a_state_that_does_not_fit_is_refused(path):
    compiled = {"optimizer": optimizer("Adam", learning_rate=0.25), "loss": "mse"}
    good = [each for array in ARRAYS for each in (array, array**2)]
    for state, message in (
        ([np.int32(1), 0.25, *good[:-1]], "must keep arrays of the shapes"),
        ([np.int32(-1), 0.25, *good], "a number of updates"),
        ([0.5, 0.25, *good], "a number of updates"),
        ([np.int32(1), 0.25, *[-array for array in good]], "a mean square below 0"),
        ([np.int32(1), 0.25, *[array * np.inf for array in good]], "inf or nan in its optimizer"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.from_keras(keras_file(path, compiled=compiled, state=state))


def test_damaged_files_are_refused(path):
    good = keras_file(path).read_bytes()
    for content, message in (
        (b"", "is not a .keras file, or damaged"),
        (b"text", "is not a .keras file, or damaged"),
        (good[: len(good) // 2], "is not a .keras file, or damaged"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "save it under a name that ends in .keras"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"Keras' file '.*net.keras'.*{message}"):
            convert.from_keras(path)
    for entries, message in (
        ({"config__json": None}, "it has no config.json"),
        ({"metadata__json": None}, "it has no metadata.json"),
        ({"config__json": "{"}, "has a damaged config.json"),
        ({"config__json": "[" * 100_000}, "has a damaged config.json"),
        ({"config__json": "[]"}, "must have an object as config.json"),
        ({"config__json": b"\xff"}, "has a damaged config.json"),
        ({"metadata__json": '{"keras_version": "2.15.0"}'}, "must be of Keras 3; it is of '2.15"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.from_keras(keras_file(path, **entries))
    with zipfile.ZipFile(keras_file(path)) as archive:
        arrays = archive.read("model.weights.h5")
    names = {"model.weights.h5": arrays[: len(arrays) // 2]}
    with zipfile.ZipFile(path) as archive:
        names |= {n: archive.read(n) for n in ("config.json", "metadata.json")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="has damaged arrays"):
        convert.from_keras(path)


def test_an_entry_that_unpacks_to_a_huge_size_is_refused(path):
    keras_file(path, metadata__json=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", bytes(20_000_000))
    with pytest.raises(ValueError, match="says to have 20,000,000 bytes"):
        convert.from_keras(path)


def test_an_entry_that_is_compressed_in_another_way_is_refused(path):
    keras_file(path, metadata__json=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("metadata.json", b"{}")
    with pytest.raises(ValueError, match="oddly compressed metadata"):
        convert.from_keras(path)


def test_arrays_outside_the_file_are_not_read(path, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = ARRAYS[0]
    (tmp_path / "secret.bin").write_bytes(ARRAYS[0].tobytes())

    def replaced(change):
        with zipfile.ZipFile(keras_file(path)) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        held = io.BytesIO(contents["model.weights.h5"])
        with h5py.File(held, "r+") as file:
            group = file["layers/dense/vars"]
            del group["0"]
            change(group)
        contents["model.weights.h5"] = held.getvalue()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)

    def link(group):
        group["0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "secret")

    def external(group):
        file = (str(tmp_path / "secret.bin"), 0, ARRAYS[0].nbytes)
        group.create_dataset("0", (3, 4), "f8", external=[file])

    def virtual(group):
        layout = h5py.VirtualLayout((3, 4), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "secret", (3, 4))
        group.create_virtual_dataset("0", layout)

    def empty(group):
        group.create_dataset("0", (1 << 20, 1 << 20), "f8", chunks=(1024, 1024))

    for change, message in (
        (link, "arrays of numbers in layer 'dense_7'"),
        (external, "hold all numbers of layer 'dense_7' itself"),
        (virtual, "hold all numbers of layer 'dense_7' itself"),
        (empty, "hold all numbers of layer 'dense_7' itself"),
    ):
        replaced(change)
        with pytest.raises(ValueError, match=message):
            convert.from_keras(path)


def test_arguments_are_checked(path):
    with pytest.raises(TypeError, match=r"path of a \.keras file or a model of Keras; got 5"):
        convert.from_keras(5)
    with pytest.raises(FileNotFoundError):
        convert.from_keras(path)
    keras_file(path)
    with pytest.raises(TypeError, match="init belongs to the net that is read"):
        convert.from_keras(path, init="he_normal")
