"""Each kind of damage is a fault, each peculiarity a remark, and whole images are neither."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from throughput.checking.pictures import look_at


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 60, "restart_marker_rows": 1}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("PPM", {}),
    ],
)
def test_whole_images_are_good(encode, picture, kind, options):
    for size in ((160, 120), (33, 31), (1, 1)):
        data = encode(picture.resize(size), kind, **options)
        extension = kind.lower() if kind != "JPEG" else "jpg"
        assert look_at(data, f"a.{extension}") == (None, ())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "PPM"])
def test_an_image_that_is_cut_anywhere_is_bad(encode, kind):
    data = encode(kind=kind)
    extension = kind.lower() if kind != "JPEG" else "jpg"
    for share in (0.02, 0.3, 0.7, 0.99):
        wrong, _ = look_at(data[: int(len(data) * share)], f"a.{extension}")
        assert wrong is not None, share
        assert wrong.fault == "truncated", (share, wrong)
    wrong, _ = look_at(data[:-1], f"a.{extension}")
    assert wrong is not None


def test_a_jpeg_without_its_end_marker_is_truncated(encode):
    wrong, _ = look_at(encode()[:-2], "a.jpg")
    assert wrong == ("truncated", "it ends without its end marker (EOI)")


def test_a_jpeg_whose_rest_is_zeros_says_so(encode):
    data = encode()
    half = len(data) // 2
    wrong, _ = look_at(data[:half].rstrip(b"\0") + bytes(1000), "a.jpg")
    assert wrong == ("truncated", "it ends without its end marker (EOI), in 1000 zeros")


def test_damaged_coded_data_that_pillow_decodes_without_a_word_is_found(encode):
    """A bit that flips shifts all codes behind it, and what remains of the data is too much or too little."""
    data = encode(quality=90)
    found = 0
    for place in range(len(data) // 2, len(data) - 200, 97):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        if damaged[place] == 0xFF or damaged[place - 1] == 0xFF:
            continue
        wrong, _ = look_at(bytes(damaged), "a.jpg")
        found += wrong is not None and wrong.fault == "damaged"
    assert found >= 10


def test_a_stray_marker_in_coded_data_is_damage(encode):
    data = encode()
    half = len(data) // 2
    wrong, _ = look_at(data[:half] + b"\xff\x37garbage" + data[half:], "a.jpg")
    assert wrong is not None
    assert wrong.fault == "damaged"
    assert f"byte {half}" in wrong.cause


def test_a_flipped_bit_of_a_png_is_found_wherever_it_lies(encode, picture):
    data = encode(picture.resize((20, 20)), kind="PNG")
    for place in range(8, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        assert look_at(bytes(damaged), "a.png").wrong is not None, place


@pytest.mark.parametrize(
    ("data", "fault", "said"),
    [
        (b"", "empty", "empty"),
        (b"\x5a" * 3000, "garbage", "not an image"),
        (bytes(3000), "garbage", "zeros only"),
        (b"<!DOCTYPE html><html>404</html>", "garbage", "HTML"),
        (b"P5\n20000 20000\n255\n", "bomb", "400000000 pixels"),
    ],
)
def test_what_is_no_image_is_told_apart(data, fault, said):
    wrong, _ = look_at(data, "a.jpg")
    assert wrong is not None
    assert wrong.fault == fault
    assert said in wrong.cause


@pytest.mark.parametrize("kind", ["TGA", "PCX", "ICO", "JPEG2000", "EPS"])
def test_what_loaders_do_not_open_is_bad(encode, kind):
    """Pillow opens all of these, and would have PostScript run."""
    wrong, _ = look_at(encode(kind=kind), "a.jpg")
    assert wrong == ("garbage", "not an image of a known type")


def test_peculiarities_are_remarks(encode, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(np.arange(100, dtype=np.uint16).reshape(10, 10))
    palette = picture.convert("P")
    several = {"save_all": True, "append_images": [picture.rotate(90)]}
    for remark, data, name in (
        ("cmyk", encode(picture.convert("CMYK")), "a.jpg"),
        ("progressive", encode(progressive=True), "a.jpg"),
        ("exif rotation", encode(exif=exif), "a.jpg"),
        ("trailing bytes", encode() + b"more", "a.jpg"),
        ("wrong extension", encode(kind="PNG"), "a.jpg"),
        ("16-bit", encode(grey16, "PNG"), "a.png"),
        ("palette", encode(palette, "PNG"), "a.png"),
        ("alpha", encode(picture.convert("RGBA"), "PNG"), "a.png"),
        ("trailing bytes", encode(kind="PNG") + b"more", "a.png"),
        ("animated", encode(kind="WEBP", **several), "a.webp"),
        ("trailing bytes", encode(kind="WEBP") + b"more", "a.webp"),
    ):
        assert look_at(data, name) == (None, (remark,)), remark


def test_several_pictures_in_a_jpeg_are_no_trailing_bytes(encode, picture):
    data = encode(kind="MPO", save_all=True, append_images=[picture.rotate(90)])
    assert look_at(data, "a.jpg") == (None, ())


def test_jpegs_that_only_some_decoders_read_are_good(request):
    files = request.config.rootpath / "tests" / "jpeg" / "files"
    paths = sorted(files.glob("*.jpg"))
    assert paths
    for path in paths:
        assert look_at(path.read_bytes(), path.name).wrong is None, path
