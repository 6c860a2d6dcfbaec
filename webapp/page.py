"""The page: its tabs, what it looks like, and how it is served."""

from pathlib import Path

import gradio as gr

from webapp import check_tab, predict_tab, report_tab, train_tab
from webapp.served import Served

LOOK = {"css_paths": Path(__file__).with_name("look.css")}  # for `webapp.serving.serve`
_HOUR = 3600  # seconds; what visitors sent is looked through as often, and removed after a day
_TABS = {
    "Predict": predict_tab.build,
    "Check": check_tab.build,
    "Train": train_tab.build,
    "Report": report_tab.build,
}


def build_page(served: Served) -> gr.Blocks:
    """The page with all its tabs, not yet served."""
    with gr.Blocks(
        title="unet-keras", analytics_enabled=False, delete_cache=(_HOUR, 24 * _HOUR)
    ) as page:
        for name, build in _TABS.items():
            with gr.Tab(name, id=name.lower(), elem_id=f"tab_{name.lower()}"):
                if leave := build(served):
                    page.unload(leave)
    return page
