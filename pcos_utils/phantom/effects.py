"""List the groups of effects that make phantoms differ, each with a switch for ablations."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Effects:
    """The effects of a phantom. Each part draws from a stream of its own, so a switch changes no other draw.

    There is one exception. An ovary whose follicles do not fit is drawn again, and whether they fit can depend on
    ``shapes`` and ``dominant``.
    """

    shapes: bool = True  # uneven, flat, crescent and merging follicles instead of separate spheres
    faint: bool = True  # echoes inside some follicles
    dominant: bool = True  # one follicle of 9 to 16 mm in some ovaries

    @property
    def name(self) -> str:
        """Return ``all``, or what is off, such as ``no-faint-shapes``."""
        off = sorted(name for name, on in asdict(self).items() if not on)
        return "-".join(["no", *off]) if off else "all"
