"""
Drop-in replacements for scikit-learn's multilayer perceptrons.

`MLPClassifier` and `MLPRegressor` replace those of ``sklearn.neural_network``. They have the same
parameters and the same attributes. The same ``random_state`` gives the same model.

Install it with ``pip install 'jitprop[sklearn]'``.
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
