"""SavedModels: hub modules and Keras exports, the right length, the right words when they are wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from savedmodels import hub_module, keras_export, signature_only
from support import needs

from featurestore import FeatureStore
from featurestore.backbones import tf_operations
from featurestore.backbones.registry import load
from featurestore.backbones.tfhub import folder_digest
from featurestore.errors import BackboneError

needs("tensorflow", "tensorflow_hub")
pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own warnings are not ours to mend


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic SavedModel of the signature of the hub's Inception v3 feature vector."""
    return hub_module(tmp_path_factory.mktemp("hub") / "inception")


def test_a_store_is_embedded_through_local_weights(store: FeatureStore, weights: Path) -> None:
    backbone = load("inception_v3", weights=weights, synthetic=True)
    assert backbone.spec.embed_dim == 2048
    report = store.embed(backbone, batch_size=7)
    assert report.computed == 24
    features = store.features("inception_v3", view="collection")
    assert features.X.shape == (24, 2048)
    assert features.synthetic
    assert store.embed(load("inception_v3", weights=weights, synthetic=True)).computed == 0


def test_vectors_do_not_depend_on_the_batch(weights: Path) -> None:
    backbone = load("resnet_v2_50", weights=weights, synthetic=True)
    images = np.random.default_rng(0).random((5, 224, 224, 3), np.float32)
    together = backbone.embed(images)
    alone = np.concatenate([backbone.embed(image[None]) for image in images])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4)


def test_the_identity_is_in_the_variables_not_in_the_name(weights: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(weights, moved)
    (moved / "notes.txt").write_text("mine")
    assert folder_digest(moved) == folder_digest(weights)
    other = hub_module(tmp_path / "other", seed=1)
    assert folder_digest(other) != folder_digest(weights)


def test_keras_exports_and_pooled_maps(tmp_path: Path) -> None:
    exported = load(f"savedmodel:{keras_export(tmp_path / 'Keras-Model')}", synthetic=True)
    assert (exported.spec.name, exported.spec.embed_dim) == ("keras_model", 32)
    maps = load(f"savedmodel:{hub_module(tmp_path / 'maps', embed_dim=16, pooled=False)}", name="maps")
    assert maps.embed(np.zeros((2, 224, 224, 3), np.float32)).shape == (2, 16)


def test_of_several_outputs_the_float_vector_is_the_embedding(tmp_path: Path) -> None:
    backbone = load(f"savedmodel:{signature_only(tmp_path / 'signature')}", synthetic=True)
    images = np.random.default_rng(0).random((3, 224, 224, 3), np.float32)
    expected = images.reshape(3, 2, 112, 2, 112, 3).mean((2, 4)).reshape(3, 12)[:, :8]
    np.testing.assert_allclose(backbone.embed(images), expected, atol=1e-4)


def test_batches_of_any_size_are_one_trace(weights: Path) -> None:
    backbone = load("resnet_v2_50", weights=weights, synthetic=True)
    for count in (1, 7, 32):
        assert backbone.embed(np.zeros((count, 224, 224, 3), np.float32)).shape == (count, 2048)
    assert backbone.function.experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


def test_threads_come_before_the_first_model(weights: Path) -> None:
    with pytest.raises(BackboneError, match="already running in this process"):
        load("inception_v3", weights=weights, threads=3)


def test_wrong_models_are_named(tmp_path: Path) -> None:
    short = hub_module(tmp_path / "short", embed_dim=64)
    with pytest.raises(BackboneError, match="gives 64-d vectors, inception_v3 has 2048"):
        load("inception_v3", weights=short)
    with pytest.raises(BackboneError, match="not a SavedModel"):
        load("inception_v3", weights=tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"no protobuf")
    with pytest.raises(BackboneError, match="can't be loaded as a SavedModel"):
        load(f"savedmodel:{tmp_path / 'broken'}")
    from featurestore.backbones.base import Preprocessing

    with pytest.raises(BackboneError, match="takes 224 × 224 pixels, not 64 × 64"):
        load(f"savedmodel:{short}", preprocessing=Preprocessing(64, 64))


def test_cached_weights_need_no_network(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    variation = tmp_path / "models/google/inception-v3/tensorFlow2/feature-vector"
    shutil.copytree(weights, variation / "2")
    (variation / "2.complete").touch()
    backbone = load("inception_v3", synthetic=True)
    assert backbone.spec.source == "google/inception-v3/tensorFlow2/feature-vector/2"
    assert backbone.spec.licence == "Apache-2.0"
    assert backbone.spec.revision == load("inception_v3", weights=weights).spec.revision


def test_published_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub

    def offline(handle: str) -> str:
        raise ConnectionError(handle)

    monkeypatch.setattr(kagglehub, "model_download", offline)
    with pytest.raises(BackboneError, match=r"google/inception-v3/.* can't be downloaded .no connection.*--weights"):
        load("inception_v3")


def hostile(folder: Path) -> dict[str, Callable[[Any], Any]]:
    """What a graph may do besides computing, by name."""
    import tensorflow as tf

    out = str(folder / "written")
    secret = tf.raw_ops.ReadFile

    def table(images: Any) -> Any:
        words = tf.lookup.TextFileInitializer(out, tf.string, 0, tf.int64, 1)
        return tf.lookup.StaticHashTable(words, 0).lookup(tf.constant(["a"]))

    return {
        "WriteFile": lambda images: tf.io.write_file(out, "x"),
        "ReadFile": lambda images: secret(filename="/etc/hostname"),
        "MatchingFiles": lambda images: tf.io.matching_files("/etc/*"),
        "DebugIdentity": lambda images: tf.raw_ops.DebugIdentity(input=images, debug_urls=[f"file://{out}"]),
        "PrintV2": lambda images: tf.print(images, output_stream=f"file://{out}"),
        "EagerPyFunc": lambda images: tf.py_function(lambda x: x, [images], tf.float32),
        "SaveV2": lambda images: tf.raw_ops.SaveV2(
            prefix=out, tensor_names=["a"], shape_and_slices=[""], tensors=[images]
        ),
        "ImmutableConst": lambda images: tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[4], memory_region_name=out),
        "TextLineDataset": lambda images: tf.raw_ops.TextLineDataset(
            filenames=[out], compression_type="", buffer_size=1
        ),
        "InitializeTableFromTextFileV2": table,
        "WholeFileReaderV2": lambda images: tf.raw_ops.WholeFileReaderV2(),
        "ReadFile in a branch": lambda images: tf.cond(
            images[0, 0, 0, 0] > 2, lambda: secret(filename=out), lambda: tf.constant("")
        ),
        "ReadFile in a loop": lambda images: tf.while_loop(
            lambda i: i < 1, lambda i: i + tf.strings.length(secret(filename=out)), [0]
        ),
        "ReadFile in a function": tf.function(lambda images: tf.map_fn(lambda x: secret(filename=out), images[0])),
    }


def test_a_graph_that_does_more_than_compute_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    images = tf.TensorSpec([1, 4, 4, 3], tf.float32)
    for name, body in hostile(tmp_path).items():

        @tf.function(input_signature=[images])
        def call(x: Any, body: Callable[[Any], Any] = body) -> Any:
            body(x)
            return tf.reduce_mean(x, [1, 2])

        # Lookup tables are made outside the function's graph in `body`: it is the graph that is looked at.
        graph = call.get_concrete_function().graph.as_graph_def()
        with pytest.raises(BackboneError, match=f"calls .*{name.split()[0]}.*, which may do more than compute"):
            tf_operations.check_graph(graph, tmp_path)


def test_nothing_of_a_refused_graph_runs(tmp_path: Path) -> None:
    """Not when it is loaded, either: a resource of a model has a function that makes it."""
    import tensorflow as tf
    from tensorflow.python.trackable.resource import CapturableResource

    out = str(tmp_path / "written")

    class OnLoad(CapturableResource):  # type: ignore[misc]
        def _create_resource(self) -> Any:
            with tf.control_dependencies([tf.io.write_file(out, "x")]):
                return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.resource = OnLoad()

        @tf.function(input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            with tf.control_dependencies([self.resource.resource_handle]):
                return tf.reduce_mean(images, [1, 2])

    tf.saved_model.save(Module(), str(tmp_path / "gift"))
    Path(out).unlink(missing_ok=True)
    with pytest.raises(BackboneError, match=r"gift' calls WriteFile, which may do more than compute"):
        load(f"savedmodel:{tmp_path / 'gift'}")
    assert not Path(out).exists()


def test_a_model_of_tensorflow_1_is_refused(weights: Path, tmp_path: Path) -> None:
    """Its graph is run as a whole, with what saves and restores it."""
    from tensorflow.core.protobuf import saved_model_pb2

    copy = shutil.copytree(weights, tmp_path / "copy")
    model = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
    model.meta_graphs[0].ClearField("object_graph_def")
    (copy / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(BackboneError, match="is a SavedModel of TensorFlow 1: save it again with TensorFlow 2"):
        load(f"savedmodel:{copy}")


# Of the operations of a new TensorFlow some may be pure that this rule does not know: it refuses them.
NEVER = ("File", "Print", "PyFunc", "Save", "Restore", "Dataset", "Summary", "Rpc", "Remote", "Send", "Recv", "Custom")


def test_what_the_rule_allows_of_all_operations() -> None:
    """Judged by hand for TensorFlow 2.21, of 1,910; more of a later one must be looked at."""
    import tensorflow as tf

    names = [name for name in dir(tf.raw_ops) if not name.startswith("_")]
    found = {name for name in names if tf_operations.allowed(name)}
    assert {name for name in found if any(part in name for part in NEVER)} == set()
    assert {"Conv2D", "FusedBatchNormV3", "MatMul", "Softmax", "ResizeBilinear", "While", "ReadVariableOp"} <= found
    assert not {"NoSuchOperation", "Abort", "PyFuncStateless", "ImmutableConst", "HashTableV2"} & found
