"""A pipeline step for heads whose library accepts NaN: it refuses NaN and infinity before the head sees them."""

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.heads.base import Classifier


def refusing_nan(model: Classifier) -> Pipeline:
    """A pipeline that raises ValueError when its input holds NaN or infinity, and else runs ``model`` on it."""
    return make_pipeline(FunctionTransformer(validate=True), model)
