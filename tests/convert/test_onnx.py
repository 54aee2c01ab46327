"""Nets in ONNX files. `tests/interop/test_onnx.py` reads what PyTorch and skl2onnx export."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jitprop import ELU, Fleet, LeakyReLU, Softplus, Trainer, convert, export
from jitprop.net.spec import HIDDEN_ACTIVATIONS
from jitprop.sklearn import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).normal(size=(9, 3)) * 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "activation", [*HIDDEN_ACTIVATIONS, LeakyReLU(0.2), LeakyReLU(3.0), ELU(0.3), Softplus(2.5)]
)
def test_what_jitprop_exported_comes_back_with_the_same_bits(path, dtype, activation):
    trainer = Trainer(
        [3, 5, 4, 2], activation=activation, output_activation=activation, dtype=dtype, seed=1
    )
    export.to_onnx(trainer, path)
    again = convert.from_onnx(path)
    assert again.activation == trainer.activation
    assert again.dtype == trainer.dtype
    assert np.array_equal(again.predict(X), trainer.predict(X))


def test_exp_and_softmax_come_back(path):
    for output, loss in (("exp", "poisson"), ("softmax", "cross_entropy")):
        trainer = Trainer([3, 4, 2], output_activation=output, loss=loss, seed=1)
        export.to_onnx(trainer, path)
        again = convert.from_onnx(path, loss=loss, optimizer="adam", batch_size=4)
        assert np.array_equal(again.predict(X), trainer.predict(X))
        assert (again.loss, again.batch_size) == (trainer.loss, 4)


def test_of_a_classifier_the_probabilities_are_read(path):
    labels = np.arange(9) % 3
    for y, k in ((labels == 1, 1), (labels, 3), (np.eye(3, dtype=int)[labels], 3)):
        classes = np.arange(3) if y.ndim == 2 else np.unique(y)
        model = MLPClassifier((4,), random_state=0).partial_fit(X, y, classes=classes)
        export.to_onnx(model, path)
        trainer = convert.from_onnx(path)
        assert np.array_equal(trainer.predict(X), model.predict_proba(X)[:, -k:])
    with pytest.raises(ValueError, match=r"'label'.*casts to another type"):
        convert.from_onnx(path, output="label")
    with pytest.raises(ValueError, match=r"output 'score' is unknown: .* has 'label', 'probab"):
        convert.from_onnx(path, output="score")
    with pytest.raises(TypeError, match="output must be the name of an output; got 1"):
        convert.from_onnx(path, output=1)
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0).partial_fit(X, X[:, 0])
    export.to_onnx(model, path)
    assert np.array_equal(convert.from_onnx(path).predict(X)[:, 0], model.predict(X))


def test_a_list_gives_a_fleet(tmp_path):
    trainers = [Trainer([3, 4, 1], seed=seed) for seed in range(3)]
    paths = [tmp_path / f"{i}.onnx" for i in range(3)]
    for trainer, path in zip(trainers, paths, strict=True):
        export.to_onnx(trainer, path)
    fleet = convert.from_onnx(paths, optimizer="adam")
    assert isinstance(fleet, Fleet)
    for member, trainer in zip(fleet, trainers, strict=True):
        assert np.array_equal(member.predict(X), trainer.predict(X))


# Graphs that are written node by node.

W = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
V = np.random.default_rng(2).normal(size=(2, 2)).astype(np.float32)
B = np.array([0.5, -1.0], np.float32)
GEMM = [("Gemm", ["x", "W", "b"], {})]


def saved(path, nodes, dtype=TensorProto.FLOAT, of_inputs=("n", 3), outputs=("y",), **arrays):
    """Write a graph; the last node gives y. Nodes are (operator, inputs, attributes)."""
    made = []
    for i, (op, inputs, attributes) in enumerate(nodes):
        domain = "ai.onnx.ml" if op == "ZipMap" else ""
        output = "y" if i == len(nodes) - 1 else f"v{i}"
        made.append(helper.make_node(op, inputs, [output], f"node{i}", domain=domain, **attributes))
    numbers = {"W": W, "V": V, "b": B, "0": np.float32(0), "2": np.float32(2)} | arrays
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info("x", dtype, of_inputs)],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


def outputs_of(path):
    return convert.from_onnx(path).predict(X.astype(np.float32))


Z = X.astype(np.float32) @ W


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (GEMM, Z + B),
        ([("Gemm", ["x", "Wt", "b"], {"transB": 1, "alpha": 2.0, "beta": 0.5})], 2 * Z + B / 2),
        ([("Gemm", ["x", "W"], {})], Z),
        ([("Gemm", ["x", "W", "2"], {})], Z + 2),
        ([("MatMul", ["x", "W"], {})], Z),
        ([("MatMul", ["x", "W"], {}), ("Add", ["b", "v0"], {})], Z + B),
        ([("MatMul", ["x", "W"], {}), ("Add", ["v0", "row"], {})], Z + B),
        ([("Flatten", ["x"], {}), ("Gemm", ["v0", "W", "b"], {})], Z + B),
        ([*GEMM, ("Identity", ["v0"], {})], Z + B),
        ([*GEMM, ("Dropout", ["v0"], {})], Z + B),
        ([*GEMM, ("Cast", ["v0"], {"to": TensorProto.FLOAT})], Z + B),
        ([*GEMM, ("Reshape", ["v0", "shape"], {})], Z + B),
        ([*GEMM, ("ZipMap", ["v0"], {"classlabels_int64s": [0, 1]})], Z + B),
        ([*GEMM, ("Relu", ["v0"], {}), ("Gemm", ["v1", "V", "b"], {})],
         np.maximum(Z + B, 0) @ V + B),
        ([*GEMM, ("Max", ["0", "v0"], {})], np.maximum(Z + B, 0)),
        ([*GEMM, ("LeakyRelu", ["v0"], {"alpha": 0.25})], np.maximum(Z + B, (Z + B) / 4)),
        ([*GEMM, ("HardSigmoid", ["v0"], {"alpha": 1 / 6})], np.clip((Z + B) / 6 + 0.5, 0, 1)),
        ([("Transpose", ["Wt"], {"perm": [1, 0]}), ("MatMul", ["x", "v0"], {})], Z),
        ([("Constant", [], {"value": numpy_helper.from_array(W)}), ("MatMul", ["x", "v0"], {})], Z),
    ],
)  # fmt: skip
def test_chains_of_layers_and_of_nodes_that_change_nothing(path, nodes, expected):
    arrays = {"Wt": W.T.copy(), "row": B[None], "shape": np.array([-1, 2])}
    saved(path, nodes, **arrays)
    np.testing.assert_allclose(outputs_of(path), expected, rtol=1e-5, atol=1e-6)


def test_float16_becomes_float32(path):
    half = W.astype(np.float16)
    saved(path, [("MatMul", ["x", "W16"], {})], dtype=TensorProto.FLOAT16, W16=half)
    trainer = convert.from_onnx(path)
    assert trainer.dtype == np.float32
    assert np.array_equal(trainer.weights[0], half.astype(np.float32))


def test_missing_biases_stay_0_in_training(path):
    trainer = convert.from_onnx(saved(path, [("MatMul", ["x", "W"], {})]))
    before = trainer.weights[0].copy()
    trainer.fit(X, np.ones((9, 2)), epochs=3)
    assert not trainer.biases[0].any()
    assert not np.array_equal(trainer.weights[0], before)


def both_classes(weights, axis):
    return [
        ("MatMul", ["x", weights], {}),
        ("Sigmoid", ["v0"], {}),
        ("Sub", ["1", "v1"], {}),
        ("Concat", ["v2", "v1"], {"axis": axis}),
    ]


def test_both_probabilities_of_two_classes_are_one_output(path):
    arrays = {"1": np.float32(1), "W1": W[:, :1].copy()}
    expected = 1 / (1 + np.exp(-Z[:, :1]))
    saved(path, both_classes("W1", 1), **arrays)
    np.testing.assert_allclose(outputs_of(path), expected, rtol=1e-5)
    for weights, axis in (("W", 1), ("W1", 0)):  # four outputs, and twice as many samples
        saved(path, both_classes(weights, axis), **arrays)
        with pytest.raises(ValueError, match=r"'node3' \('Concat'\) joins values"):
            convert.from_onnx(path)


REFUSED = {
    r"node 'node1' \('Conv'\) is no operator that jitprop knows": [
        *GEMM, ("Conv", ["v0", "W"], {}),
    ],
    r"node 'node1' \('Add'\) joins two layers": [*GEMM, ("Add", ["v0", "x"], {})],
    r"node 'node2' \('Mul'\) joins two layers": [
        *GEMM, ("MatMul", ["x", "W"], {}), ("Mul", ["v0", "v1"], {}),
    ],
    r"'node1' \('Concat'\) joins values": [*GEMM, ("Concat", ["v0", "v0"], {"axis": 1})],
    r"'node1' \('Mul'\) computes with 2 numbers": [*GEMM, ("Mul", ["v0", "b"], {})],
    r"before the first layer, at node 'node0' \('Sub'\)": [
        ("Sub", ["x", "2"], {}), ("Gemm", ["v0", "W", "b"], {}),
    ],
    r"up to 'node1' \('Abs'\) that are no activation of jitprop: Abs\(z\)": [
        *GEMM, ("Abs", ["v0"], {}),
    ],
    r"no activation of jitprop: HardSigmoid\(z,0.2,0.5\)": [*GEMM, ("HardSigmoid", ["v0"], {})],
    r"no activation of jitprop: Relu\(Mul\(2,z\)\)": [
        *GEMM, ("Mul", ["2", "v0"], {}), ("Relu", ["v1"], {}),
    ],
    "must have the last axis": [*GEMM, ("Softmax", ["v0"], {"axis": 0})],
    "softmax in hidden layer 1": [
        *GEMM, ("Softmax", ["v0"], {}), ("Gemm", ["v1", "V", "b"], {}),
    ],
    "has transA": [("Gemm", ["x", "W", "b"], {"transA": 1})],
    "a constant matrix": [("MatMul", ["W", "x"], {})],
    "has 2 inputs, the layer before it 3": [("MatMul", ["x", "V"], {})],
    "biases must have 2 numbers; their shape is \\(3,\\)": [("Gemm", ["x", "W", "c"], {})],
    "drops units at random": [*GEMM, ("Dropout", ["v0", "", "yes"], {})],
    "casts from float32 to float64": [*GEMM, ("Cast", ["v0"], {"to": TensorProto.DOUBLE})],
    "casts to another type": [*GEMM, ("Cast", ["v0"], {"to": TensorProto.INT64})],
    r"changes the shape to \[-1, 1\]": [*GEMM, ("Reshape", ["v0", "shape"], {})],
    "must have a Gemm or a MatMul": [("Relu", ["x"], {})],
    "does not depend on the input": [("Identity", ["W"], {})],
    "parameters must be finite; they have inf or nan": [("Gemm", ["x", "nan", "b"], {})],
    "floating-point numbers; they are int64": [("MatMul", ["x", "whole"], {})],
    "the value 'nobody' comes from no node": [("Relu", ["nobody"], {})],
    "it has the attribute gamma": [*GEMM, ("Relu", ["v0"], {"gamma": 1.0})],
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_everything_else_is_refused_by_the_name_of_the_node(path, message):
    arrays = {
        "c": np.ones(3, np.float32),
        "yes": np.array(True),
        "shape": np.array([-1, 1]),
        "nan": np.full_like(W, np.nan),
        "whole": np.ones((3, 2), np.int64),
    }
    saved(path, REFUSED[message], **arrays)
    with pytest.raises(ValueError, match=f"the ONNX file '.*net.onnx'.*{message}"):
        convert.from_onnx(path)


def test_another_number_of_inputs_outputs_or_dimensions_is_refused(path):
    with pytest.raises(ValueError, match=r"inputs of the shape \(n_samples, n_inputs\)"):
        convert.from_onnx(saved(path, GEMM, of_inputs=("n", 3, 1)))
    saved(path, [*GEMM, ("Relu", ["v0"], {})], outputs=("v0", "y"))
    with pytest.raises(ValueError, match="has several outputs, 'v0', 'y': pass output"):
        convert.from_onnx(path)
    assert convert.from_onnx(path, output="v0").output_activation == "identity"
    assert convert.from_onnx(path, output="y").output_activation == "relu"


def test_a_formula_that_grows_without_limit_is_refused(path):
    double = [*GEMM, *[("Add", [f"v{i}", f"v{i}"], {}) for i in range(60)]]
    with pytest.raises(ValueError, match=r"the formula is too long"):
        convert.from_onnx(saved(path, double))


def test_damaged_files_are_refused(path):
    good = saved(path, GEMM).read_bytes()
    for content in (b"", b"no protobuf at all", good[: len(good) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"the ONNX file '.*net.onnx'"):
            convert.from_onnx(path)
    with pytest.raises(TypeError, match="path must be a str, bytes or path-like; got None"):
        convert.from_onnx(None)
    with pytest.raises(FileNotFoundError):
        convert.from_onnx(path.with_name("none.onnx"))


def test_files_with_random_bytes_are_read_or_refused(path):
    export.to_onnx(Trainer([3, 4, 2], activation=Softplus(2.0), seed=0), path)
    good = np.frombuffer(path.read_bytes(), np.uint8)
    rng, refused = np.random.default_rng(0), []
    for _ in range(300):
        content = good.copy()
        content[rng.integers(len(good), size=3)] = rng.integers(256, size=3)
        path.write_bytes(content.tobytes())
        try:
            convert.from_onnx(path)
        except ValueError as error:
            refused.append(str(error))
    assert 30 < len(refused) < 300
    assert all("the ONNX file '" in message for message in refused)


def test_an_array_that_is_shorter_than_it_says_is_refused(path):
    model = onnx.load(saved(path, GEMM))
    (tensor,) = (each for each in model.graph.initializer if each.name == "W")
    tensor.dims[:] = [3000, 2]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="the initializer 'W' cannot be read"):
        convert.from_onnx(path)


def test_numbers_beside_the_file_are_read_and_no_other_file(path, tmp_path):
    model = onnx.load(saved(path, GEMM))
    onnx.save(model, path, save_as_external_data=True, location="numbers.bin", size_threshold=0)
    assert np.array_equal(convert.from_onnx(path).weights[0], W)
    folder = tmp_path / "folder"
    folder.mkdir()
    inner = onnx.load(path, load_external_data=False)
    for tensor in inner.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../numbers.bin"
    (folder / "net.onnx").write_bytes(inner.SerializeToString())
    with pytest.raises(ValueError, match="is no ONNX file, or damaged"):
        convert.from_onnx(folder / "net.onnx")
