"""
scikit-learn's multilayer perceptrons, by jitprop: ``pip install 'jitprop[sklearn]'``.

`MLPClassifier` and `MLPRegressor` take the place of those of ``sklearn.neural_network``: the same
parameters, the same attributes and, from the same ``random_state``, the same model.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "jitprop.sklearn needs scikit-learn: pip install 'jitprop[sklearn]'"
    ) from error

from jitprop.sklearn.classifier import MLPClassifier
from jitprop.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
