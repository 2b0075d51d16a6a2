"""Fills the templates of pages: every text is escaped for HTML, and what would reorder or hide text is shown."""

from importlib.resources import files
from typing import Any

from featurestore import visible
from featurestore._optional import import_extra
from featurestore.display import JOINERS


def rendered(name: str, **values: Any) -> str:
    """The page of the template ``name``."""
    jinja = import_extra("jinja2", "bench", needed_by="the HTML report")
    environment = jinja.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    return str(environment.from_string(template(name)).render(values))


def template(name: str) -> str:
    """The text of a file beside the templates."""
    return files("benchmarks").joinpath(f"report/templates/{name}").read_text("utf-8")


def _shown(value: Any) -> Any:
    """``value`` as it is put into a page; one that is HTML already, a subclass of text, stays HTML."""
    return type(value)(visible(value, keep=f"{JOINERS}\n")) if isinstance(value, str) else value
