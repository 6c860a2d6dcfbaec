"""Imports only go down: which room may import which."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What every room may import; `nets` takes only those that need no image library of its own.
COMMON = {
    "errors", "utils.config", "utils.files", "utils.fonts", "utils.label_maps", "utils.labels",
    "utils.messages", "utils.old_names", "utils.parallel", "utils.quiet", "utils.script",
    "utils.terminal",
}  # fmt: skip
# A room may import its own modules, the common ones, and these. Scripts may import all.
ROOMS = {
    "errors": set(),
    "nets": set(),
    "utils": {"utils.images"},
    "utils.images": set(),
    "utils.distributed": set(),
    "utils.data": {"utils.images", "utils.distributed"},
    "utils.checking": {"utils.data", "utils.images", "utils.plots"},
    "utils.convert": {"utils.data", "utils.images"},
    "utils.evaluation": {"utils.data", "utils.images"},
    # The labels that it writes to be corrected must come back through `utils.convert`.
    "utils.prediction": {"utils.convert.annotations", "utils.data", "utils.images"},
    "utils.video": set(),
    "utils.runs": {"utils.data", "utils.images", "utils.evaluation", "utils.plots"},
    "training": {
        "nets", "utils.data", "utils.distributed", "utils.evaluation", "utils.prediction",
        "utils.runs",
    },
    "unet": {"nets", "utils.data", "utils.images", "utils.prediction"},
    # Its tabs offer what the scripts do, and start them.
    "webapp": {
        "nets", "training", "unet", "get_miou", "predict", "train", "voc_annotation", "utils",
        "utils.checking", "utils.convert", "utils.data", "utils.distributed", "utils.evaluation",
        "utils.images", "utils.prediction", "utils.runs", "utils.video",
    },
    # The installed package: the same modules, under one name.
    "unet_keras": {"unet", "utils.prediction"},
}  # fmt: skip
COMMON_OF_NETS = {"errors", "utils.files", "utils.labels"}
# Keras stands between the packages and its backends, but for what it has no word for: strategies
# of TensorFlow, processes of JAX, files of PyTorch. Those are imported inside functions.
BACKENDS = {"tensorflow", "jax", "torch"}
OF_BACKENDS = {"utils.distributed.distribution", "nets.weights.torch_files"}
SCRIPTS = {
    "app", "demo", "get_miou", "json_to_dataset", "predict", "summary", "train", "voc_annotation",
}  # fmt: skip


def find_modules(root):
    """{dotted name: path} of all modules but tests, benchmarks and setup.py."""
    paths = [
        path
        for top in ("", "nets/**/", "utils/**/", "training/**/", "unet_keras/**/", "webapp/**/")
        for path in root.glob(f"{top}*.py")
        if path != root / "setup.py"  # no part of the program: it packs it
    ]
    modules = {}
    for path in sorted(paths):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = find_modules(ROOT)


def imported_modules(source):
    """The modules that a source imports anywhere; of this project by their dotted names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide the room"
            names = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= names or {node.module}
    return found


IMPORTS = {
    module: imported_modules(path.read_text(encoding="utf-8")) for module, path in MODULES.items()
}


def room_of(module):
    """The longest start of a module's name that is a room; a script is a room of its own."""
    parts = module.split(".")
    starts = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((start for start in starts if start in ROOMS), parts[0])


def test_the_finder_finds_imports_anywhere():
    source = (
        "import os\ndef later():\n    from utils.runs import state\n    import keras.ops as ops"
    )
    assert imported_modules(source) == {"os", "utils.runs.state", "keras.ops"}
    assert room_of("utils.runs.state") == "utils.runs"
    assert room_of("utils.config") == "utils"
    assert room_of("nets.weights.imagenet") == "nets"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_is_below(room):
    common = COMMON_OF_NETS if room == "nets" else COMMON
    allowed = ROOMS[room] | common | {room}
    wrong = {
        (module, name)
        for module, names in IMPORTS.items()
        if room_of(module) == room
        for name in names & set(MODULES)
        if not {name, room_of(name)} & allowed
    }
    assert not wrong


def test_every_module_is_in_a_room_or_is_a_script():
    assert {room_of(module) for module in MODULES} - set(ROOMS) == SCRIPTS


def test_only_the_demo_and_the_page_call_other_scripts():
    callers = {module for module in MODULES if IMPORTS[module] & SCRIPTS}
    assert {room_of(module) for module in callers} <= {"demo", "webapp"}


def test_only_its_script_imports_the_page():
    page = {module for module in MODULES if room_of(module) == "webapp"}
    users = {module for module in MODULES if IMPORTS[module] & page}
    assert users - page == {"app"}


def test_backends_stay_behind_keras():
    users = {name for name, used in IMPORTS.items() if {x.split(".")[0] for x in used} & BACKENDS}
    assert users <= OF_BACKENDS


def test_imports_have_no_cycle():
    graph = {module: names & set(MODULES) - {module} for module, names in IMPORTS.items()}
    graphlib.TopologicalSorter(graph).prepare()


def test_scripts_and_unet_load_no_keras_before_they_need_it():
    """It takes seconds; --help and the checks of settings and data do without."""
    heavy = {"keras", *BACKENDS}
    modules = ", ".join(sorted(SCRIPTS | {"unet"}))
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_page_of_rooms_names_every_room():
    page = (ROOT / "docs" / "rooms.md").read_text(encoding="utf-8")
    packages = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("*/**/__init__.py")}
    assert not {package for package in packages if f"`{package}/" not in page}
