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
    "nets.feature_sizes": 0,
    "nets.imagenet": 0,
    "nets.imagenet_files": 0,
    "nets.start": 0,
    "nets.torchvision_files": 0,
    "nets.keras_files": 0,
    "nets.cost": 0,
    "nets.losses": 0,
    "nets.precision": 0,
    "nets.remat": 0,
    "nets.resnet50": 0,
    "nets.stored": 0,
    "nets.torch_files": 0,
    "nets.unet": 0,
    "nets.upsampling": 0,
    "nets.vgg16": 0,
    "nets.weights": 0,
    "utils.annotations": 0,
    "utils.bands": 0,
    "utils.config": 0,
    "utils.devices": 0,
    "utils.distribution": 0,
    "utils.job": 0,
    "utils.lost_process": 0,
    "utils.draw": 0,
    "utils.faults": 0,
    "utils.files": 0,
    "utils.image": 0,
    "utils.image_files": 0,
    "utils.jpeg": 0,
    "utils.lr_schedule": 0,
    "utils.metrics": 0,
    "utils.parallel": 0,
    "utils.quiet": 0,
    "utils.split": 0,
    "utils.lists": 0,
    "utils.memory": 0,
    "utils.tiff": 0,
    "utils.lock": 0,
    "utils.voc": 0,
    "utils.augment": 1,
    "utils.check": 1,
    "utils.class_weights": 1,
    "utils.dataset": 1,
    "utils.boundary": 1,
    "utils.export": 1,
    "utils.gallery": 1,
    "utils.inference": 1,
    "utils.legend": 1,
    "utils.page": 1,
    "utils.pairs": 1,
    "utils.pictures": 1,
    "utils.plots": 1,
    "utils.rasterize": 1,
    "utils.regions": 1,
    "utils.results": 1,
    "utils.run_summary": 1,
    "utils.relabel": 1,
    "utils.resume": 0,
    "utils.runs": 2,
    "utils.state": 1,
    "utils.scan": 1,
    "utils.scores": 1,
    "utils.tiles": 1,
    "utils.video": 2,
    "utils.video_file": 1,
    "utils.video_source": 0,
    "utils.callbacks": 2,
    "utils.board": 2,
    "utils.guards": 2,
    "utils.coco": 2,
    "utils.evaluate": 2,
    "utils.fix": 2,
    "utils.labelme": 2,
    "utils.new_dataset": 2,
    "utils.stream": 2,
    "utils.report": 2,
    "utils.progress": 2,
    "training": 3,
    "unet": 3,
}
SCRIPT = 4
# Settings are checked, and --help is printed, without the seconds that Keras takes to load.
WITHOUT_KERAS = {
    "errors",
    "nets.checks",
    "utils.annotations",
    "utils.bands",
    "utils.check",
    "utils.class_weights",
    "utils.coco",
    "utils.config",
    "utils.devices",
    "utils.draw",
    "utils.faults",
    "utils.files",
    "utils.image",
    "utils.image_files",
    "utils.jpeg",
    "utils.job",
    "utils.labelme",
    "utils.legend",
    "utils.lists",
    "utils.lock",
    "utils.lr_schedule",
    "utils.metrics",
    "utils.new_dataset",
    "utils.pairs",
    "utils.parallel",
    "utils.pictures",
    "utils.quiet",
    "utils.rasterize",
    "utils.regions",
    "utils.relabel",
    "utils.results",
    "utils.resume",
    "utils.runs",
    "utils.scan",
    "utils.split",
    "utils.state",
    "utils.tiff",
    "utils.video",
    "utils.video_file",
    "utils.video_source",
    "utils.voc",
}
# Keras stands between the packages and its backends, but for what it has no word for: strategies
# of TensorFlow, processes of JAX. There the backend in use is imported, inside functions.
BACKENDS = {"tensorflow", "jax", "torch"}
OF_BACKENDS = {"utils.distribution"}


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
from utils import image
from utils.voc import read_mask as read
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
        "utils.image",
        "utils.voc",
        "utils.voc.read_mask",
        "tensorflow",
        "utils.plots",
        "utils.plots.plot",
        "utils.metrics",
    }
    assert imported_names("from ..nets import losses", "a.utils") == {"a.nets", "a.nets.losses"}


def test_modules_are_found():
    assert {"errors", "nets", "nets.vgg16", "utils", "utils.metrics"} <= set(MODULES)


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
    assert found == {"nets.torch_files": {"torch"}}


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
