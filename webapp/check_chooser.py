"""A list of paths to choose from, in which another can be typed too."""

import gradio as gr


def chooser(choices, label, what, elem_id):
    """The component, where it is called; the first path is chosen.

    Args:
        choices: list of str.
        label: str.
        what: str, what the paths are of.
        elem_id: str.
    """
    return gr.Dropdown(
        choices,
        value=_first(choices),
        allow_custom_value=True,
        label=label,
        info=f"{what}: choose, or type a path",
        scale=2,
        min_width=240,
        elem_id=elem_id,
    )


def renewed(choices, chosen):
    """The component with other choices; what was chosen or typed stays."""
    return gr.Dropdown(choices=choices, value=chosen or _first(choices))


def _first(choices):
    return choices[0] if choices else ""
