"""onnxruntime runs a net that jitprop has exported. It computes neither losses nor gradients."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

import jitprop
import jitprop.export

PACKAGES = ("onnxruntime",)


def calls(net):
    """Return the one call of a net: {name: function}. It uses onnxruntime's default threads."""
    trainer = jitprop.Trainer(
        net.sizes,
        activation=net.activation,
        output_activation=net.output_activation,
        loss=net.loss,
        init=net.start(),
        dtype=net.dtype,
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        jitprop.export.to_onnx(trainer, path)
        session = onnxruntime.InferenceSession(path)
    (name,) = (given.name for given in session.get_inputs())
    return {"predict": lambda X: session.run(None, {name: X})[0]}
