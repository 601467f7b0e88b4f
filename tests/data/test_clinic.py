"""DICOM files and clips give their grey values, and nothing that names a patient."""

import importlib
import logging
import sys
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLosslessSV1, RLELossless, generate_uid
from typer.testing import CliRunner

from pcos_utils import cli
from pcos_utils.data import clinic, images, manifest
from pcos_utils.data.survey import survey
from pcos_utils.phantom import simulator
from tests.data.made import encoded

SECRETS = ("Doe^Jane", "MRN-4711", "19800229")


@pytest.fixture(scope="module")
def cine() -> np.ndarray:
    """Twelve frames of one phantom, each a little brighter, uint8 (12, height, width)."""
    scan = simulator.simulate(4, 0).image.astype(int)
    return np.array([np.clip(scan + 3 * number, 0, 255) for number in range(12)], np.uint8)


def dicom(path, pixels: np.ndarray, colours="MONOCHROME2", *, rle=False, jpeg=None, **tags):
    """Write frames (n, height, width[, 3]) as a DICOM file of a named patient, and return its path."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.PatientID, file.PatientBirthDate = SECRETS
    file.NumberOfFrames, file.Rows, file.Columns, file.SamplesPerPixel = (*pixels.shape, 1)[:4]
    bits = pixels.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation, file.PlanarConfiguration = int(pixels.dtype.kind == "i"), 0
    file.PhotometricInterpretation, file.PixelData = colours, pixels.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    if rle:
        file.compress(RLELossless, pixels, generate_instance_uid=False)
    if jpeg:
        meta.TransferSyntaxUID = JPEGBaseline8Bit
        file.PixelData = encapsulate(jpeg)
        file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True)
    return path


def regions(*stated: dict) -> list[Dataset]:
    """Return regions of a screen, each of the facts whose names end so."""
    made = [Dataset() for _ in stated]
    for region, facts in zip(made, stated, strict=True):
        for name, value in facts.items():
            setattr(region, name, value)
    return made


def read(path, every=1):
    names, pictures = zip(*clinic.frames(path, every=every), strict=True)
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in pictures)
    return names, np.array(pictures)[..., 0]


@pytest.mark.parametrize("rle", [False, True])
def test_a_cine_of_twelve_frames_gives_its_grey_values(tmp_path, cine, rle):
    path = dicom(tmp_path / "IM000001", cine, rle=rle)
    names, grey = read(path)
    assert clinic.is_clinic(path) and names == tuple(map(str, range(1, 13)))
    assert np.array_equal(grey, cine) and np.array_equal(clinic.load(path, 6)[..., 0], cine[5])
    names, grey = read(path, every=5)
    assert names == ("1", "6", "11") and np.array_equal(grey, cine[::5])
    with pytest.raises(images.ImageError, match="IM000001: damaged .*no frame 13"):
        clinic.load(path, 13)


def test_one_frame_white_as_zero_deep_and_signed(tmp_path, cine):
    one = cine[:1]
    assert read(dicom(tmp_path / "a", one))[0] == ("",)
    assert np.array_equal(read(dicom(tmp_path / "b", 255 - one, "MONOCHROME1"))[1], one)
    deep = np.round(one / 255 * 4095).astype(np.uint16)
    assert np.array_equal(read(dicom(tmp_path / "c", deep, BitsStored=12, HighBit=11))[1], one)
    assert np.array_equal(read(dicom(tmp_path / "d", (one * 257.0 - 32_768).astype(np.int16)))[1], one)
    # The stated depth counts, however dark the frame is.
    dark = read(dicom(tmp_path / "e", deep // 16, BitsStored=12, HighBit=11))[1]
    assert dark.mean() == pytest.approx(one.mean() / 16, abs=0.6)


def test_colours_jpeg_and_palette(tmp_path, cine):
    coloured = np.repeat(cine[:2, ..., None], 3, axis=3)
    assert np.array_equal(read(dicom(tmp_path / "rgb", coloured, "RGB"))[1], cine[:2])
    ybr = coloured.copy()
    ybr[..., 1:] = 128
    assert np.abs(read(dicom(tmp_path / "ybr", ybr, "YBR_FULL"))[1].astype(int) - cine[:2]).max() <= 1
    coded = [encoded(Image.fromarray(frame), "JPEG", quality=95) for frame in coloured]
    grey = read(dicom(tmp_path / "jpeg", coloured, "YBR_FULL_422", jpeg=coded))[1]
    assert np.abs(grey.astype(int) - cine[:2]).mean() < 3
    ramp = (np.arange(256, dtype=np.uint16)[::-1] * 257).tobytes()
    tables = {f"{name}PaletteColorLookupTableData": ramp for name in ("Red", "Green", "Blue")}
    tables |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in ("Red", "Green", "Blue")}
    assert np.array_equal(read(dicom(tmp_path / "palette", 255 - cine[:1], "PALETTE COLOR", **tables))[1], cine[:1])


def test_the_region_of_tissue_is_cut_out(tmp_path, cine):
    names = ["RegionDataType", *(f"RegionLocation{end}" for end in ("MinX0", "MinY0", "MaxX1", "MaxY1"))]
    stated = regions(*(dict(zip(names, of, strict=True)) for of in ((1, 20, 10, 219, 129), (3, 0, 0, 250, 180))))
    grey = read(dicom(tmp_path / "screen", cine[:1], SequenceOfUltrasoundRegions=stated))[1]
    assert np.array_equal(grey, cine[:1, 10:130, 20:220])


def test_the_size_of_a_pixel_is_what_the_file_states(tmp_path, cine):
    def stated(*of: tuple, **tags) -> tuple | None:
        """Return the millimetres of a file with regions of (kind, unit, width and height of a pixel)."""
        ends = ("UnitsXDirection", "UnitsYDirection", "DeltaX", "DeltaY")
        names = ["RegionDataType", *(f"Physical{end}" for end in ends)]
        made = regions(*(dict(zip(names, (kind, unit, unit, *sides), strict=True)) for kind, unit, *sides in of))
        tags |= {"SequenceOfUltrasoundRegions": made} if of else {}
        return clinic.millimetres(dicom(tmp_path / "scan.dcm", cine[:1], **tags), "scan.dcm")

    tissue, curve = (1, 3, 0.02, -0.03), (3, 4, 0.01, 1.0)
    assert stated(tissue, curve) == stated(tissue, tissue) == pytest.approx((0.2, 0.3))
    assert stated(PixelSpacing=[0.3, 0.2]) == (0.2, 0.3)  # rows come first
    # Nothing, two sizes, another unit, no size, and sizes that no scan has.
    wrong = (1, 4, 0.02, 0.03), (1, 3, 0.0, 0.03), (1, 3, 9.0, 9.0), (1, 3, 0.03, float("nan"))
    assert stated() is stated(tissue, (1, 3, 0.04, 0.04)) is None and not any(map(stated, wrong))
    Image.fromarray(cine[0]).save(tmp_path / "scan.png")
    assert clinic.millimetres(tmp_path / "scan.png", "scan.png") is None
    assert clinic.millimetres(tmp_path / "none.dcm", "none.dcm") is None


def test_nothing_of_the_header_is_told(tmp_path, cine, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    path = dicom(tmp_path / "IM1", cine[:2])
    other = dicom(tmp_path / "IM2", cine[2:4])
    told = [clinic.patient(path), clinic.patient(other), list(clinic.frames(path, every=1))]
    assert told[0] == told[1] and len(told[0]) == 16
    content = path.read_bytes()
    for damaged in (content[:400], content[:-50_000], content.replace(b"MONOCHROME2 ", b"MONOCHROME9 ")):
        path.write_bytes(damaged)
        with pytest.raises(images.ImageError) as caught:
            list(clinic.frames(path, every=1))
        told.append(str(caught.value))
    texts = " ".join([repr(told), caplog.text, *capfd.readouterr()])
    uid = str(pydicom.dcmread(other).SOPInstanceUID)
    assert not [secret for secret in (*SECRETS, uid, "Doe", "4711") if secret in texts]


def test_the_salt_of_a_run_and_a_missing_extra(tmp_path, cine, monkeypatch):
    first = clinic.patient(path := dicom(tmp_path / "IM1", cine[:1]))
    importlib.reload(clinic)
    assert first != clinic.patient(path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(images.ImageError, match=r'IM1: .*pip install "pcos-utils\[clinic\]"'):
        list(clinic.frames(path))


def test_lossless_jpeg_gives_its_grey_values(tmp_path, cine):
    gdcm, path = pytest.importorskip("gdcm"), tmp_path / "lossless"
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(dicom(tmp_path / "plain", cine[:3])))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert path.stat().st_size < 0.9 * cine[:3].size and np.array_equal(read(path)[1], cine[:3])


@pytest.mark.parametrize("name", ["volume.nii", "volume.nii.gz"])
def test_a_volume_gives_its_slices(tmp_path, cine, name):
    path, voxels = tmp_path / name, cine.transpose(2, 1, 0)
    colours = np.zeros(voxels.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = voxels
    deep = (voxels * 257.0 - 32_768).astype(np.int16)[..., None]
    for values, white in ((deep, 0), (voxels.astype(np.float32) * 4, 1020), (voxels, 0), (colours, 0)):
        volume = nibabel.Nifti1Image(values, np.eye(4))
        volume.header["cal_max"] = white
        nibabel.save(volume, path)
        if values is not colours:
            assert read(path)[0] == tuple(map(str, range(1, 13))) and np.array_equal(read(path)[1], cine)
            assert np.array_equal(images.load(Path(f"{path}#6"))[..., 0], cine[5]) and images.count(path) > 1
    green = clinic.load(path, 3)
    assert np.array_equal(green[..., 1], cine[2]) and not green[..., [0, 2]].any()
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(images.ImageError, match=rf"{name}: damaged"):
        list(clinic.frames(path))


def test_a_folder_of_volumes_is_audited_or_says_what_to_install(tmp_path, cine, monkeypatch):
    nibabel.save(nibabel.Nifti1Image(cine.transpose(2, 1, 0), np.eye(4)), tmp_path / "v.nii.gz")
    Image.fromarray(cine[5]).save(tmp_path / "copy.png")
    table = survey(tmp_path)
    assert table.path.tolist() == ["copy.png", "v.nii.gz#1", "v.nii.gz#11", "v.nii.gz#6"]
    assert table.pixel_sha256[0] == table.pixel_sha256[3] and table.format[1] == "NIfTI"
    monkeypatch.setitem(sys.modules, "nibabel", None)
    told = survey(tmp_path).set_index("path").loc["v.nii.gz"]
    assert told.status == "not an image" and 'a NIfTI file; pip install "pcos-utils[clinic]"' in told.reason


@pytest.mark.parametrize("code", ["FFV1", "MJPG"])
def test_a_clip_gives_every_nth_frame(tmp_path, cine, code):
    path = tmp_path / "sweep.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, cine.shape[:0:-1])
    for frame in cine:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    names, grey = read(path, every=5)
    assert clinic.is_clinic(path) and names == ("1", "6", "11")
    assert np.abs(grey.astype(int) - cine[::5]).mean() < 2.5
    assert np.array_equal(clinic.load(path, 11)[..., 0], grey[2])
    path.write_bytes(b"RIFF no clip")
    with pytest.raises(images.ImageError, match=r"sweep\.avi: damaged"):
        list(clinic.frames(path))


def test_an_audit_reads_cines_and_clips_and_writes_nothing_of_a_header(tmp_path, cine):
    for place in ("train/pco", "test/normal"):
        (tmp_path / "scans" / place).mkdir(parents=True)
    dicom(tmp_path / "scans/train/pco/IM000001", cine, PatientID="MRN-4711 b")
    Image.fromarray(cine[0]).save(tmp_path / "scans/test/normal/copy.png")
    for number in range(3):
        dicom(tmp_path / f"scans/test/normal/{number}.dcm", simulator.simulate(number, 0).image[None])
    done = CliRunner().invoke(cli.app, ["audit", str(tmp_path / "scans"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 3, done.output
    sources = manifest.read(tmp_path / "out" / "sources.csv").set_index("path")
    assert {"train/pco/IM000001#1", "train/pco/IM000001#6", "train/pco/IM000001#11"} < set(sources.index)
    assert sources.source["train/pco/IM000001#1"] == sources.source["test/normal/copy.png"]
    assert sources.group["train/pco/IM000001#1"] != sources.group["test/normal/0.dcm"] != ""
    written = [done.output.encode(), *(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())]
    assert not [secret for secret in SECRETS for text in written if secret.encode() in text]
