"""One module opens images, with the limits on formats, size and time: no other decodes one, by any package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path for package in ("featurestore", "benchmarks") for path in (ROOT / package).rglob("*.py"))
OPENS_IMAGES = Path("featurestore/collections/formats.py")
# Packages that decode images of any format or size, and how functions that do so are called.
DECODERS = ("cv2", "imageio", "skimage.io", "matplotlib.image", "matplotlib.pyplot", "torchvision.io", "pyvips", "wand")
FUNCTIONS = {"imread", "imdecode", "read_image", "load_img", "decode_and_crop_jpeg"}
FUNCTIONS |= {f"decode_{form}" for form in ("image", "jpeg", "png", "bmp", "gif", "webp", "avif")}
# What of Pillow reads a file.
OF_PILLOW = {"open", "Parser"}


def decoding(source: str) -> set[str]:
    """What the module names or calls that decodes an image."""
    if not any(
        word in source for word in ("PIL", *(one.partition(".")[0] for one in DECODERS), *FUNCTIONS)
    ):  # most modules: it saves seconds
        return set()
    nodes = list(ast.walk(ast.parse(source)))
    named = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for node in nodes:
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = {name for name in named for one in DECODERS if name == one or name.startswith(f"{one}.")}
    pillow = _pillow(nodes)
    for node in nodes:
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            of_pillow = owner in pillow or owner.startswith("import_extra('PIL.") or owner.endswith(".Image")
            if node.attr in FUNCTIONS or (node.attr in OF_PILLOW and of_pillow):
                found.add(ast.unparse(node))
        elif isinstance(node, ast.Name) and node.id in FUNCTIONS:
            found.add(node.id)
    return found


def _pillow(nodes: list[ast.AST]) -> set[str]:
    """The expressions that are Pillow: variables, and calls of functions that return it."""
    pillow = {"Image", "ImageFile", "ImageSequence"}
    for _ in range(3):  # a variable of a variable of a function
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                value = ast.unparse(node.value)
                if value in pillow or value.startswith("import_extra('PIL."):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    pillow |= {ast.unparse(target) for target in targets}
            elif isinstance(node, ast.FunctionDef):
                given = [ast.unparse(one.value) for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
                if any(value in pillow or value.startswith("import_extra('PIL.") for value in given):
                    pillow.add(f"{node.name}()")
    return pillow


def test_one_module_opens_images() -> None:
    found = {str(path.relative_to(ROOT)): decoding(path.read_text("utf-8")) for path in MODULES}
    assert {path: names for path, names in found.items() if names} == {str(OPENS_IMAGES): {"pillow.open"}}


@pytest.mark.parametrize(
    "code",
    [
        "from PIL import Image\nImage.open(path)",
        "import PIL.Image\nPIL.Image.open(path)",
        "pillow = import_extra('PIL.Image', 'embed')\nother = pillow\nother.open(path)",
        "def pil():\n    return import_extra('PIL.Image', 'embed')\nlibrary = pil()\nlibrary.open(path)",
        "import_extra('PIL.Image', 'embed', needed_by='x').open(path)",
        "import cv2",
        "from skimage import io\nio.read(path)",
        "from skimage.io import imread",
        "tf.io.decode_jpeg(content)",
        "import_extra('imageio', 'bench')",
        "keras.utils.load_img(path)",
    ],
)
def test_another_way_to_open_images_is_found(code: str) -> None:
    assert decoding(code)
