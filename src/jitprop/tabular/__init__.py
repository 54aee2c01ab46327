"""
Nets for tables with numbers, categories, booleans, dates, texts and missing values.

`TabularClassifier` and `TabularRegressor` are estimators of scikit-learn. They need
``pip install 'jitprop[sklearn]'``; the rest of this package does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitprop.tabular.estimators import TabularClassifier, TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"jitprop.tabular.{name} needs scikit-learn: pip install 'jitprop[sklearn]'"
        ) from error
    from jitprop.tabular import estimators

    return getattr(estimators, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
