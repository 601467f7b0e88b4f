"""Side studies: each script answers one question and writes its tables."""

import argparse

from pcos_utils.config import ROOT

OUT = ROOT / "reports" / "studies"


def arguments(text: str, *places: str, **options) -> argparse.Namespace:
    """Return the arguments of the command line.

    ``text``: what --help says. ``places``: the names of required arguments. ``options``: the names of options with
    their defaults, whose types they keep.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in places:
        parser.add_argument(name)
    for name, default in options.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help="default: %(default)s")
    return parser.parse_args()
