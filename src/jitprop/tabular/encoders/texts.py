"""
A column of texts, or of more categories than are encoded one by one.

A text is counted by its parts of three and four characters, as skrub's StringEncoder does it. So
texts that are spelled alike have like features, and a new text has features too. The parts are
hashed to `HASHES` numbers (scikit-learn's HashingVectorizer), each is weighed by how rare it is
(tf-idf), and a truncated singular value decomposition keeps `COMPONENTS` features.

These libraries were weighed:

- skrub 0.11, StringEncoder: the same steps, and they are good for nets. But what it learned can be
  kept only in a pickle, and it brings requests, jinja2 and matplotlib.
- skrub, MinHashEncoder: learns nothing, so it needs no file. But a feature is the smallest hash of
  all parts, of which a tree can make use by splits, and a net hardly.
- scikit-learn, which skrub calls for the steps: each is a public class, and what it learned is two
  arrays. So it is used here directly.

scikit-learn computes with the BLAS and LAPACK that SciPy brings. So what is learned from texts may
differ in the last bits between machines. On one machine it is the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jitprop._types import Array
from jitprop.checks import shown
from jitprop.files import stored
from jitprop.tabular.encoders import categories, scale
from jitprop.tabular.encoders.categories import CategoryEncoder
from jitprop.tabular.table import Column, quoted

COMPONENTS = 30
"""The most features of the parts of texts, as in skrub."""

HASHES = 4096
"""The parts of texts are hashed to this many numbers."""

OFTEN = 10
"""A category with this many training rows also has a feature of its own."""

FEW = 20
"""With more texts than this, of which more than half differ, a column has names, not categories."""

LONGEST = 256
"""A column with a longer text than this many characters has no categories."""

LEARNED_FROM = 20_000
"""The most texts to learn the parts from, and then the scale: evenly spaced among all."""


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """
    One-hot for the most frequent texts, and features of the parts of all texts.

    Attributes
    ----------
    frequent : CategoryEncoder
        Of the texts that occur at least `OFTEN` times, at most `categories.MOST`.
    idf : (HASHES,) float64 array
        The weight of each part: the rarer, the higher.
    components : (n, HASHES) float32 array
        The weights of all parts in each of at most `COMPONENTS` features.
    """

    kind: ClassVar[str] = "text"
    frequent: CategoryEncoder
    idf: Array
    components: Array

    @property
    def name(self) -> str:
        """The column's name."""
        return self.frequent.name

    @classmethod
    def learn(cls, column: Column) -> TextEncoder:
        """
        Learn from the training rows.

        Raises
        ------
        ImportError
            If scikit-learn is not installed.
        """
        values = categories.texts(column, False)
        different, counts = categories.count(values)
        commonest = np.argsort(-counts, kind="stable")[: categories.MOST]
        often = sorted(different[i] for i in commonest if counts[i] >= OFTEN)
        frequent = CategoryEncoder(column.name, tuple(often) if not is_long(different) else ())
        sample = [different[i] for i in _spaced(len(different))]
        idf, components = _fit(column.name, sample)
        return cls(frequent, idf, components)

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        parts = [f"{self.name} text {i + 1}" for i in range(len(self.components))]
        return self.frequent.features + parts

    def of(self, column: Column) -> Array:
        """Return the features, (n_rows, n_features) float64, nan where a text is missing."""
        values = categories.texts(column, False)
        made = np.full((len(values), len(self.components)), np.nan)
        rows = np.flatnonzero([value is not None for value in values])
        if len(rows):
            different, inverse = np.unique(values[rows], return_inverse=True)
            parts = _weighed(self.name, different.tolist(), self.idf)
            made[rows] = (parts @ self.components.T)[inverse.reshape(-1)]
        return np.hstack([self.frequent.of(column), made])

    def scale(self, column: Column) -> tuple[Array, Array]:
        """Return the median and the factor of each feature, from the training rows."""
        medians, factors = self.frequent.scale(column)
        some = Column(column.name, column.kind, column.values[_spaced(len(column.values))])
        parts = self.of(some)[:, len(medians) :]
        found = np.array([scale.of_values(x) for x in parts.T]).T
        return np.append(medians, found[0]), np.append(factors, found[1])

    def to_file(self) -> dict[str, Any]:
        """Return the settings as JSON has them; `arrays` returns the rest."""
        return {**self.frequent.to_file(), "components": len(self.components)}

    def arrays(self) -> dict[str, Array]:
        """Return the arrays of a file, by name."""
        return {"idf": self.idf, "components": self.components}

    @staticmethod
    def layout(item: Mapping[str, Any]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Return the dtypes and shapes of the arrays in a file."""
        n = item["components"]
        if type(n) is not int or not 1 <= n <= COMPONENTS:
            raise ValueError(f"components must be from 1 to {COMPONENTS}; got {shown(n)}")
        float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
        return {"idf": (float64, (HASHES,)), "components": (float32, (n, HASHES))}

    @classmethod
    def from_file(
        cls, name: str, item: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> TextEncoder:
        """Restore an encoder; raise a ValueError for what `to_file` does not write."""
        for array in (arrays["idf"], arrays["components"]):
            stored.finite("texts", array)
        frequent = CategoryEncoder.from_file(name, item)
        if frequent.boolean:
            raise ValueError("a column of texts holds no booleans")
        return cls(frequent, arrays["idf"], arrays["components"])


def _spaced(n: int) -> Array:
    """Return at most `LEARNED_FROM` of the first n integers, evenly spaced."""
    m = min(n, LEARNED_FROM)
    return np.arange(m) * n // m


def is_long(different: list[str]) -> bool:
    """Whether a column holds texts that are too long for categories."""
    return any(len(text) > LONGEST for text in different)


def are_many(different: list[str], counts: Array) -> bool:
    """Whether a column of these texts is encoded by their parts: one-hot would say too little."""
    n = len(different)
    singular = n > FEW and 2 * n > counts.sum()
    return n > categories.MOST or singular or (n > 1 and is_long(different))


def _counted(name: str, texts: list[str]) -> Any:
    """Return how often each part occurs in each text: a sparse matrix, (n_texts, HASHES)."""
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ImportError as error:
        raise ImportError(
            f"column {quoted(name)} holds texts, which need scikit-learn: "
            "pip install 'jitprop[sklearn]', or leave the column out"
        ) from error
    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 4), n_features=HASHES, alternate_sign=False, norm=None
    )
    try:
        return vectorizer.transform(texts)
    except UnicodeEncodeError:  # bytes that were no Unicode
        return vectorizer.transform([text.encode("utf-8", "replace").decode() for text in texts])


def _fit(name: str, texts: list[str]) -> tuple[Array, Array]:
    """Return idf and components from different texts."""
    counts = _counted(name, texts)
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from threadpoolctl import threadpool_limits

    idf = np.asarray(TfidfTransformer().fit(counts).idf_, np.float64)
    # With one thread, else the last bits depend on their number. Blanks alone have no variance.
    with threadpool_limits(1), np.errstate(invalid="ignore"):
        svd = TruncatedSVD(min(COMPONENTS, len(texts) - 1), random_state=0)
        svd.fit(_weighed(name, texts, idf, counts))
    return idf, np.asarray(svd.components_, np.float32)


def _weighed(name: str, texts: list[str], idf: Array, counts: Any = None) -> Any:
    """Return the parts of texts, weighed by idf, each row of length 1."""
    from sklearn.preprocessing import normalize

    counts = _counted(name, texts) if counts is None else counts
    return normalize(counts.multiply(idf).tocsr())
