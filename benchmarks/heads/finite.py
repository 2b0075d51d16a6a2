"""The step in front of heads that would learn from NaN without a word."""

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.heads.base import Classifier


def only_finite(model: Classifier) -> Pipeline:
    """``model`` behind a look at its input, which passes unchanged: NaN and infinity are a ValueError."""
    return make_pipeline(FunctionTransformer(validate=True), model)
