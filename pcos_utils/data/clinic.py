"""Read what clinics export, DICOM files, NIfTI volumes and cine clips, as frames of 8-bit RGB.

Only pixels, and a digest that groups the frames of one patient, leave this module. Names, dates and numbers from
a file's header are never returned, written or shown. DICOM and NIfTI need the extra ``clinic``.
"""

import hashlib
import logging
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pcos_utils.data.images import MAX_PIXELS, ImageError, opened
from pcos_utils.data.levels import scaled

CLIPS = {".avi", ".mp4", ".mov", ".m4v", ".mkv", ".wmv", ".mpg", ".mpeg"}
VOLUMES = (".nii", ".nii.gz")
EVERY = 5  # frames of a clip or cine from one that is read to the next
MOST = 10_000  # frames of a file
MAX_VOXELS = 125_000_000  # of a volume, which is read whole; a scaled one has 8 bytes each
TISSUE, CENTIMETRES = 1, 3  # the region data type of two-dimensional tissue, and a unit, DICOM PS3.3 C.8.5.5.1
SALT = secrets.token_bytes(32)  # anew in each run, so that no list of known numbers can be tried on a digest
# Warnings and messages of pydicom may quote a header.
warnings.filterwarnings("ignore", module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
logging.getLogger("nibabel").setLevel(logging.CRITICAL)
INSTALL = 'a {} file; pip install "pcos-utils[clinic]" reads it'


def is_clinic(path: Path, name: str | None = None) -> bool:
    """Return whether a file is a DICOM file, by its bytes 128 to 132, or by its name a clip or a volume."""
    if kind(Path(name or path)) != "DICOM":
        return True
    try:
        with opened(path, path.name) as stream:
            return stream.read(132)[128:] == b"DICM"
    except (ImageError, OSError):
        return False


def kind(path: Path) -> str:
    """Return clip or NIfTI by the suffix, and DICOM for all others."""
    name = path.name.lower()
    return "clip" if name.endswith(tuple(CLIPS)) else "NIfTI" if name.endswith(VOLUMES) else "DICOM"


def count(path: Path) -> int:
    """Return how many frames a DICOM file names, and 2 for what is not counted. Raises where it cannot be read."""
    return int(_header(path, path.name, pixels=False).get("NumberOfFrames") or 1) if kind(path) == "DICOM" else 2


def frames(path: Path, name: str | None = None, every: int = EVERY) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (frame name, image) of every n-th frame, images as from ``images.load``. Raises ImageError.

    The frames of a volume are its slices across the third axis, with the second axis down the picture; where there are
    several volumes, one after the other. The frame name is empty in a file of one frame, and otherwise the frame's
    number, from 1, as ``load`` takes it.
    """
    name = name or path.name
    return READ[kind(Path(name))](path, name, every)  # a file in memory has no name of its own


def load(path: Path, number: int = 1, name: str | None = None) -> np.ndarray:
    """Load the frame of this number, from 1, as 8-bit RGB, shape (height, width, 3). Raises ImageError."""
    name = name or path.name
    for _, picture in READ[kind(path)](path, name, MOST, number - 1):
        return picture
    raise ImageError("damaged", name, f"it has no frame {number}")


def millimetres(path: Path, name: str) -> tuple[float, float] | None:
    """Return how wide and how high a pixel of a DICOM file's frames is, in mm, or None where it does not say one."""
    if kind(Path(name)) != "DICOM" or not is_clinic(path):
        return None
    try:
        header = _header(path, name, pixels=False)
        regions = [region for region in header.get("SequenceOfUltrasoundRegions") or () if _is_tissue(region)]
        units = {region.get(f"PhysicalUnits{axis}Direction") for region in regions for axis in "XY"}
        stated = {tuple(10 * abs(float(region[f"PhysicalDelta{axis}"].value)) for axis in "XY") for region in regions}
        stated = stated if units == {CENTIMETRES} else {tuple(map(float, header.get("PixelSpacing") or ()))[::-1]}
        width, height = stated.pop()
    except (ImageError, FileNotFoundError, KeyError, TypeError, ValueError):  # told when the file is decoded
        return None
    return (width, height) if not stated and all(0.01 < side < 5 for side in (width, height)) else None


def patient(path: Path) -> str:
    """Return a digest of the patient whom a DICOM file names, 16 hexadecimal digits, or "" where it names none."""
    try:
        header = _header(path, path.name, pixels=False)
    except ImageError:  # told when the file is decoded
        return ""
    text = "|".join(str(header.get(tag, "")) for tag in ("PatientID", "IssuerOfPatientID")).strip("|")
    return hashlib.blake2b(text.encode(), key=SALT, digest_size=8).hexdigest() if text else ""


def _header(path: Path, name: str, *, pixels: bool = True):
    """Return a DICOM file's data set, with or without its pixels."""
    try:
        import pydicom
    except ImportError:
        raise ImageError("not an image", name, INSTALL.format("DICOM")) from None
    try:
        with opened(path, name) as stream:
            return pydicom.dcmread(stream, stop_before_pixels=not pixels)
    except (ImageError, FileNotFoundError):
        raise
    except Exception as error:  # the message may quote a header, so only the error's kind is told
        raise ImageError("damaged", name, f"its DICOM header cannot be read: {type(error).__name__}") from None


def _dicom(path: Path, name: str, every: int, first: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    header = _header(path, name)
    try:
        count, size = int(header.get("NumberOfFrames") or 1), int(header.Rows) * int(header.Columns)
    except (AttributeError, TypeError, ValueError):
        raise ImageError("not an image", name, "a DICOM file without a picture's size") from None
    if "PixelData" not in header:
        raise ImageError("not an image", name, "a DICOM file without pixels")
    if size > MAX_PIXELS or count > MOST:
        raise ImageError("too large", name, f"{count} frames of {size:,} pixels; limits: {MOST:,} of {MAX_PIXELS:,}")
    from pydicom.pixels import apply_color_lut, pixel_array

    for number in range(first, count, every):
        try:
            values = pixel_array(header, index=number)  # YBR comes as RGB
            if header.PhotometricInterpretation == "PALETTE COLOR":
                values = apply_color_lut(values, header)
            picture = _crop(_rgb(values, header), header)
        except Exception as error:
            raise ImageError("damaged", name, f"frame {number + 1} cannot be decoded: {type(error).__name__}") from None
        yield str(number + 1) if count > 1 else "", picture


def _rgb(values: np.ndarray, header) -> np.ndarray:
    if values.ndim == 3:
        deep = 16 if header.PhotometricInterpretation == "PALETTE COLOR" else int(header.BitsStored)
        values = scaled(values.astype(np.float64), deep) if values.dtype.itemsize > 1 else values
        return np.ascontiguousarray(values)
    bits, signed = int(header.BitsStored), header.get("PixelRepresentation") == 1
    grey = scaled(values.astype(np.float64), bits, white=2.0 ** (bits - signed) - 1, signed=signed)
    grey = 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey
    return np.repeat(grey[..., None], 3, axis=2)


def _crop(pixels: np.ndarray, header) -> np.ndarray:
    """Return the largest region of tissue or the whole frame; outside regions scanners write the patient's name."""
    boxes = []
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        corners = [region.get(f"RegionLocation{corner}") for corner in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if _is_tissue(region) and None not in corners:
            left, top, right, bottom = map(int, corners)
            boxes.append(pixels[max(0, top) : max(0, bottom + 1), max(0, left) : max(0, right + 1)])
    largest = max(boxes, key=lambda part: part.size, default=pixels)
    return np.ascontiguousarray(largest) if largest.size else pixels


def _is_tissue(region) -> bool:
    return region.get("RegionDataType", TISSUE) == TISSUE


def _clip(path: Path, name: str, every: int, first: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    opened(path, name).close()  # refuses what is no ordinary file
    clip = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        size = int(clip.get(cv2.CAP_PROP_FRAME_WIDTH) * clip.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if size > MAX_PIXELS:
            raise ImageError("too large", name, f"frames of {size:,} pixels; the limit is {MAX_PIXELS:,}")
        number = 0
        while number < MOST and clip.grab():
            if number >= first and (number - first) % every == 0:
                read, picture = clip.retrieve()
                if not read:
                    raise ImageError("damaged", name, f"frame {number + 1} cannot be decoded")
                yield str(number + 1), cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            number += 1
        if not number:
            raise ImageError("damaged", name, "no frame of the clip can be decoded")
    finally:
        clip.release()


def _volume(path: Path, name: str, every: int, first: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    try:
        import nibabel
    except ImportError:
        raise ImageError("not an image", name, INSTALL.format("NIfTI")) from None
    opened(path, name).close()  # refuses what is no ordinary file
    try:
        volume = nibabel.Nifti1Image.from_filename(path)
        across, down, *others = volume.shape
        size, count = across * down, int(np.prod(others))
        fits = size <= MAX_PIXELS and count <= MOST and size * count <= MAX_VOXELS
        values = np.asanyarray(volume.dataobj).reshape(across, down, count, order="F") if fits else np.zeros(1)
        if not values.size:
            raise ValueError("no voxels")
    except Exception as error:  # the message may quote a header, so only the error's kind is told
        raise ImageError("damaged", name, f"the volume cannot be read: {type(error).__name__}") from None
    if not fits:
        limits = f"limits: {MOST:,} of {MAX_PIXELS:,}, {MAX_VOXELS:,} in all"
        raise ImageError("too large", name, f"{count:,} slices of {size:,} pixels; {limits}")
    for number in range(first, count, every):
        part = np.ascontiguousarray(values[..., number].T)
        if part.dtype.fields:
            part = part.view(np.uint8).reshape(down, across, -1)[..., :3]
        elif part.dtype != np.uint8:
            bits, signed = 8 * part.dtype.itemsize * (part.dtype.kind in "iu"), part.dtype.kind == "i"
            try:
                part = scaled(part.astype(np.float64), bits, white=float(volume.header["cal_max"]), signed=signed)
            except ValueError as error:
                raise ImageError("damaged", name, str(error)) from None
        yield str(number + 1) if count > 1 else "", part if part.ndim == 3 else np.repeat(part[..., None], 3, axis=2)


READ = {"clip": _clip, "DICOM": _dicom, "NIfTI": _volume}
