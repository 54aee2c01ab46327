"""Nets of PyTorch become trainers, and trainers become modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jitprop.convert._converted import Converted, dtype_of, fleet_of
from jitprop.convert._settings import with_settings
from jitprop.convert.pytorch import losses, optimizers
from jitprop.convert.pytorch.layers import array, module_of, of_module, of_state_dict
from jitprop.fleet import Fleet
from jitprop.trainer import Trainer
from jitprop.training.model import model_of


def from_torch(
    model: Any,
    *,
    activations: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    **settings: Any,
) -> Trainer | Fleet:
    """
    Return a trainer that goes on where PyTorch stopped.

    It has the module's layers, activations, dtype and dropout. Given the loss and the optimizer, it
    has their settings too, and the optimizer's state: velocities, means and the number of updates.
    On the same batches, further updates are those of PyTorch, up to rounding.

    Parameters
    ----------
    model : torch.nn.Sequential or state_dict, or a list of them
        A Sequential of ``Linear`` and activations. Nested ones are flattened. A ``Dropout`` behind
        the activation of a hidden layer becomes `Trainer`'s ``dropout``. A ``Flatten`` at the
        beginning is left out, since samples here are flat. A state_dict has the weights and biases
        of Linear modules in their order; its values may be tensors or arrays.
    activations : sequence, optional
        For a state_dict: the activation of each layer, output layer last, as `Trainer` takes them.
    loss : module, optional
        ``MSELoss``, ``L1Loss``, ``HuberLoss``, ``SmoothL1Loss``, ``BCELoss``,
        ``BCEWithLogitsLoss``, ``CrossEntropyLoss``, ``NLLLoss`` or ``PoissonNLLLoss``.
    optimizer : torch.optim.Optimizer or a list of one for each model, optional
        ``SGD``, ``Adam``, ``AdamW``, ``RMSprop`` or ``Rprop``. Its parameters are those of the
        module, or of the module that the state_dict is of. Those that it does not hold are not
        trained: they get a factor of 0 in ``learning_rate_factors``. Groups with learning rates of
        their own become factors too. Biases decay if all of them have the same ``weight_decay`` as
        the weights; and they do not if all of theirs are 0.

    Returns
    -------
    Trainer or Fleet
        A `Fleet` for a list of models with the same layers and settings. Without ``batch_size``,
        each call of `Trainer.partial_fit` is one update.

    Raises
    ------
    TypeError
        For a model that is neither a Sequential nor a state_dict.
    ValueError
        For what jitprop does not have, naming it: other modules, losses and optimizers, and their
        settings ``amsgrad``, ``maximize``, ``dampening``, ``centered``, ``pos_weight``, and
        others.

    Notes
    -----
    **Logits.** A ``BCEWithLogitsLoss`` takes logits, and so does a ``CrossEntropyLoss``; a
    ``NLLLoss`` takes logarithms of probabilities. Nets of jitprop end in "sigmoid" or "softmax"
    with these losses. So the trainer's `Trainer.predict` returns probabilities.

    **Means over outputs.** PyTorch's mean is over samples and outputs, and jitprop's over samples
    alone. With k outputs, PyTorch's loss is that of jitprop divided by k. Then the trainer has
    `SGD` with ``learning_rate`` divided by k, or another optimizer with ``epsilon`` times k. A
    decay that is part of the gradient, so any but that of `AdamW`, is ``weight_decay`` times k. All
    updates then are the same. `CrossEntropy` has no such factor.

    **Schedules.** An ``lr_scheduler`` is not taken over: the trainer has the present rate.

    **Softplus.** Beyond its threshold, 20, PyTorch returns the input itself. jitprop's result
    there is up to 2.1e-9 larger.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop.convert import from_torch
    >>> state_dict = {  # as torch.nn.Sequential(Linear(2, 3), Tanh(), Linear(3, 1)) has it
    ...     "0.weight": np.ones((3, 2)),
    ...     "0.bias": np.zeros(3),
    ...     "2.weight": np.ones((1, 3)),
    ...     "2.bias": np.ones(1),
    ... }
    >>> trainer = from_torch(state_dict, activations=["tanh", "identity"])
    >>> trainer.layer_sizes
    (2, 3, 1)
    >>> trainer.predict([[0.0, 0.0]]).tolist()
    [[1.0]]
    """
    if not isinstance(model, list | tuple):
        net = _converted(model, activations, loss, optimizer)
        return with_settings(net, settings).trainer()
    several = optimizer if isinstance(optimizer, list | tuple) else [optimizer] * len(model)
    if len(several) != len(model):
        raise ValueError(
            f"optimizer must be one for each of the {len(model)} models; got {len(several)}"
        )
    return fleet_of(
        with_settings(_converted(one, activations, loss, its), settings)
        for one, its in zip(model, several, strict=True)
    )


def _converted(model: Any, activations: Any, loss: Any, optimizer: Any) -> Converted:
    """Read one net."""
    if isinstance(model, Mapping):
        chain = of_state_dict(model, activations)
    else:
        chain = of_module(model)
        if activations is not None:
            raise ValueError("activations must be None for a module, which has its own")
    arrays = [array(weight).T for weight in chain.weights]
    sizes = [W.shape[1] for W in arrays]
    biases = [
        np.zeros(n_out, W.dtype) if bias is None else array(bias)
        for W, n_out, bias in zip(arrays, sizes, chain.biases, strict=True)
    ]
    tensors = [one for one in (*chain.weights, *chain.biases) if one is not None]
    if len({optimizers.key_of(one) for one in tensors}) < len(tensors):
        raise ValueError("a module must have parameters of its own in each Linear; some are shared")
    if chain.dropout[-1]:
        raise ValueError("a Dropout behind the output layer cannot be converted")
    own = losses.read(loss, chain, sizes[-1])
    training = {} if optimizer is None else optimizers.read(optimizer, chain)
    says = not isinstance(model, Mapping)  # a state_dict does not say what is trained
    factors = [
        tuple(float(one is not None and (not says or one.requires_grad)) for one in pair)
        for pair in zip(chain.weights, chain.biases, strict=True)
    ]
    if "learning_rate_factors" not in training and optimizer is None and {*factors} != {(1.0, 1.0)}:
        training["learning_rate_factors"] = factors
    return Converted(
        source="this module",
        weights=[np.ascontiguousarray(W) for W in arrays],
        biases=biases,
        activations=chain.activations,
        dtype=dtype_of("a module", [*arrays, *biases]),
        dropout=tuple(chain.dropout[:-1]),
        loss=own.loss,
        loss_factor=own.factor,
        reduction=own.reduction,
        **training,
    )


def to_torch(trainer: Trainer) -> Any:
    """
    Return a ``torch.nn.Sequential`` with the trainer's net.

    It has `Linear` modules and activations, in the trainer's dtype. Softmax outputs become
    ``Softmax(dim=1)``, and dropout becomes ``Dropout`` modules. The module is in evaluation mode,
    so it predicts what the trainer predicts, up to rounding. ``model.train()`` switches dropout on.

    Parameters
    ----------
    trainer : Trainer

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    TypeError
        For anything but a trainer.
    ValueError
        For a `CustomActivation`, and for the activation "exp", of which PyTorch has no module.
    ImportError
        Without PyTorch.

    Examples
    --------
    >>> from jitprop import Trainer
    >>> from jitprop.convert import to_torch
    >>> trainer = Trainer([2, 3, 1], activation="tanh", dtype="float32", seed=0)
    >>> to_torch(trainer)  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): Tanh()
      (2): Linear(in_features=3, out_features=1, bias=True)
      (3): Sigmoid()
    )
    """
    model = model_of(trainer)
    spec, params = model.spec, model.state.params
    makers = [module_of(activation) for activation in spec.activations]
    torch = _imported()
    modules = []
    layers = zip(*spec.split(params), makers, (*spec.dropout, 0.0), strict=True)
    for W, b, (kind, settings), dropout in layers:
        linear = torch.nn.Linear(*W.shape, dtype=getattr(torch, params.dtype.name))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        modules.append(linear)
        if kind != "Identity":
            modules.append(getattr(torch.nn, kind)(**settings))
        if dropout:
            modules.append(torch.nn.Dropout(dropout))
    return torch.nn.Sequential(*modules).eval()


def _imported() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("to_torch needs PyTorch: pip install 'jitprop[torch]'") from error
    return torch
