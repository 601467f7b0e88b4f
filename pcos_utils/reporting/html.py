"""Write notebooks as HTML, by nbconvert. Each run of a notebook imports this, so it imports nothing of the study."""

import re

import nbformat
from nbconvert import HTMLExporter

# nbconvert names scripts on other hosts unless these are blank; a report must open without a network.
OFFLINE = (
    "mathjax_url", "require_js_url", "mermaid_js_url", "mermaid_layout_elk_js_url", "jquery_url",
    "jupyter_widgets_base_url", "widget_renderer_url",
)  # fmt: skip
LEFT = "<style>.jp-RenderedHTMLCommon :is(td, th){text-align:left!important}</style>"  # words and numbers alike


def as_html(notebook: nbformat.NotebookNode, title: str, *, inputs: bool = True) -> str:
    """Return the notebook as one HTML page that needs no network; without the code of its cells unless ``inputs``."""
    hidden = dict.fromkeys(("exclude_input", "exclude_input_prompt", "exclude_output_prompt"), not inputs)
    exporter = HTMLExporter(embed_images=True, **hidden, **dict.fromkeys(OFFLINE, ""))
    text = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})[0]
    return re.sub(r'<script src=""> ?</script>', "", text).replace("</head>", f"{LEFT}</head>", 1)
