"""Imports only go down; see the table of levels."""

import ast
import graphlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A module may import modules of its own level and below. Scripts are at the top; every
# module of a package needs its line here.
LEVELS = {
    "errors": 0,
    "nets.checks": 0,
    "nets.weights.feature_sizes": 0,
    "nets.weights.imagenet": 0,
    "nets.weights.imagenet_files": 0,
    "nets.weights.start": 0,
    "nets.weights.torchvision_files": 0,
    "nets.weights.keras_files": 0,
    "nets.cost": 0,
    "nets.losses": 0,
    "nets.precision": 0,
    "nets.remat": 0,
    "nets.encoders.resnet50": 0,
    "nets.weights.description": 0,
    "nets.weights.torch_files": 0,
    "nets.unet": 0,
    "nets.layers": 0,
    "nets.encoders.vgg16": 0,
    "nets.weights.storage": 0,
    "utils.convert.annotations": 0,
    "utils.images.channels": 0,
    "utils.config": 0,
    "utils.distributed.devices": 0,
    "utils.distributed.distribution": 0,
    "utils.distributed.job": 0,
    "utils.distributed.lost_process": 0,
    "utils.prediction.draw": 0,
    "utils.checking.problems": 0,
    "utils.files": 0,
    "utils.images.transforms": 0,
    "utils.images.reading": 0,
    "utils.images.jpeg": 0,
    "utils.runs.lr_schedule": 0,
    "utils.evaluation.metrics": 0,
    "utils.parallel": 0,
    "utils.quiet": 0,
    "utils.data.split": 0,
    "utils.data.voc": 0,
    "utils.runs.memory": 0,
    "utils.images.tiff": 0,
    "utils.runs.lock": 0,
    "utils.data.masks": 0,
    "utils.data.augment": 1,
    "utils.checking.report": 1,
    "utils.data.class_weights": 1,
    "utils.data.dataset": 1,
    "utils.evaluation.boundary": 1,
    "utils.prediction.export": 1,
    "utils.evaluation.gallery": 1,
    "utils.prediction.inference": 1,
    "utils.prediction.legend": 1,
    "utils.evaluation.html": 1,
    "utils.checking.pairs": 1,
    "utils.convert.annotated_images": 1,
    "utils.plots": 1,
    "utils.convert.rasterize": 1,
    "utils.prediction.regions": 1,
    "utils.prediction.output_paths": 1,
    "utils.runs.summary": 1,
    "utils.checking.relabel": 1,
    "utils.runs.resume": 0,
    "utils.runs.folder": 2,
    "utils.runs.state": 1,
    "utils.checking.scan": 1,
    "utils.evaluation.score_tables": 1,
    "utils.prediction.tiles": 1,
    "utils.video.process": 2,
    "utils.video.writer": 1,
    "utils.video.source": 0,
    "utils.runs.callbacks": 2,
    "utils.runs.tensorboard": 2,
    "utils.runs.guards": 2,
    "utils.convert.coco": 2,
    "utils.evaluation.evaluate": 2,
    "utils.checking.fix": 2,
    "utils.convert.labelme": 2,
    "utils.convert.new_dataset": 2,
    "utils.prediction.stream": 2,
    "utils.evaluation.html_report": 2,
    "utils.runs.progress": 2,
    "training": 3,
    "unet": 3,
}
SCRIPT = 4
# Settings are checked, and --help is printed, without the seconds that Keras takes to load.
WITHOUT_KERAS = {
    "errors",
    "nets.checks",
    "utils.convert.annotations",
    "utils.images.channels",
    "utils.checking.report",
    "utils.data.class_weights",
    "utils.convert.coco",
    "utils.config",
    "utils.distributed.devices",
    "utils.prediction.draw",
    "utils.checking.problems",
    "utils.files",
    "utils.images.transforms",
    "utils.images.reading",
    "utils.images.jpeg",
    "utils.distributed.job",
    "utils.convert.labelme",
    "utils.prediction.legend",
    "utils.data.voc",
    "utils.runs.lock",
    "utils.runs.lr_schedule",
    "utils.evaluation.metrics",
    "utils.convert.new_dataset",
    "utils.checking.pairs",
    "utils.parallel",
    "utils.convert.annotated_images",
    "utils.quiet",
    "utils.convert.rasterize",
    "utils.prediction.regions",
    "utils.checking.relabel",
    "utils.prediction.output_paths",
    "utils.runs.resume",
    "utils.runs.folder",
    "utils.checking.scan",
    "utils.data.split",
    "utils.runs.state",
    "utils.images.tiff",
    "utils.video.process",
    "utils.video.writer",
    "utils.video.source",
    "utils.data.masks",
}
# Keras stands between the packages and its backends, but for what it has no word for: strategies
# of TensorFlow, processes of JAX. There the backend in use is imported, inside functions.
BACKENDS = {"tensorflow", "jax", "torch"}
OF_BACKENDS = {"utils.distributed.distribution"}


def find_modules(root):
    """{dotted name: path} of the scripts and of both packages' modules."""
    paths = [*root.glob("*.py"), *root.glob("nets/**/*.py"), *root.glob("utils/**/*.py")]
    modules = {}
    for path in sorted(paths):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imported_names(source, package=""):
    """The dotted names that a source imports, anywhere in it.

    `from a import b` counts as both `a` and `a.b`, since b may be a module. `package` is
    where the source's relative imports start.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            names.add(base)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


MODULES = find_modules(ROOT)


def imports_of(module):
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = imported_names(path.read_text(encoding="utf-8"), package)
    return names | tops(names)


def tops(names):
    return {name.split(".")[0] for name in names}


def is_in_package(module):
    return module.split(".")[0] in {"nets", "utils"}


def level(module):
    # A package itself only documents: its __init__ must import nothing of the project.
    return LEVELS.get(module, -1 if module in {"nets", "utils"} else SCRIPT)


PACKAGED = [module for module in MODULES if is_in_package(module)]


def test_import_finder():
    source = """
import os, keras.ops as ops
from utils.images import transforms as image
from utils.data.masks import read_mask as read
def later():
    if True:
        import tensorflow
    from .plots import plot
    from . import metrics
"""
    assert imported_names(source, "utils") == {
        "os",
        "keras.ops",
        "utils",
        "utils.images.transforms",
        "utils.data.masks",
        "utils.data.masks.read_mask",
        "tensorflow",
        "utils.plots",
        "utils.plots.plot",
        "utils.evaluation.metrics",
    }
    assert imported_names("from ..nets import losses", "a.utils") == {"a.nets", "a.nets.losses"}


def test_modules_are_found():
    assert {"errors", "nets", "nets.encoders.vgg16", "utils", "utils.evaluation.metrics"} <= set(
        MODULES
    )


def offenders(modules, forbidden):
    """{module: what it imports of `forbidden(module)`}, of those that do."""
    found = {module: imports_of(module) & forbidden(module) for module in modules}
    return {module: names for module, names in found.items() if names}


def test_every_module_of_a_package_has_a_level():
    assert set(PACKAGED) - set(LEVELS) <= {"nets", "utils"}


def test_packages_import_neither_each_other_nor_scripts():
    scripts = {name for name in MODULES if "." not in name} - {"errors", "nets", "utils"}
    others = {"nets": scripts | {"utils"}, "utils": scripts | {"nets"}}
    assert offenders(PACKAGED, lambda module: others[module.split(".")[0]]) == {}


def test_packages_import_no_backend():
    # The reader of PyTorch's files needs PyTorch, whatever the backend is.
    found = offenders(set(PACKAGED) - OF_BACKENDS, lambda module: BACKENDS)
    assert found == {"nets.weights.torch_files": {"torch"}}


def test_backends_are_imported_inside_functions():
    for module in OF_BACKENDS:
        body = ast.parse(MODULES[module].read_text(encoding="utf-8")).body
        head = [node for node in body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        source = ast.unparse(ast.Module(head, type_ignores=[]))
        assert not tops(imported_names(source)) & (BACKENDS | {"keras"}), module


def test_light_modules_import_no_keras():
    # Nor through another module.
    heavy = {"keras"} | set(MODULES) - WITHOUT_KERAS - {"nets", "utils"}
    assert offenders(WITHOUT_KERAS & set(MODULES), lambda module: heavy) == {}


def test_imports_only_go_down():
    assert (
        offenders(MODULES, lambda module: {name for name in MODULES if level(name) > level(module)})
        == {}
    )


def test_only_the_demo_calls_other_scripts():
    scripts = {name for name in MODULES if level(name) == SCRIPT}
    assert set(offenders(MODULES, lambda module: scripts)) == {"demo"}


def test_imports_have_no_cycle():
    graph = {name: imports_of(name) & set(MODULES) - {name} for name in MODULES}
    graphlib.TopologicalSorter(graph).prepare()
