import io

import numpy as np
import pytest
from PIL import Image

from seedbed.data.saliency_sets import load_map
from seedbed.errors import UserError
from seedbed.exchange.imports.reading import RESIZED, STRETCHED, Reader
from seedbed.exchange.imports.saliency_maps import COLOUR, DARK, SIXTEEN, import_saliency


def ramp(width, height, dtype=np.uint8):
    return np.linspace(0, np.iinfo(dtype).max, width * height).reshape(height, width).astype(dtype)


def test_maps_of_the_size_of_their_images_come_unchanged(reader, voc, ids, given, place, png):
    maps = {name: ramp(*voc.image(name).size) for name in ids}
    endings = [".png", "_sal.png", "-sal.png", "_saliency.PNG"]
    for (name, levels), ending in zip(maps.items(), endings, strict=True):
        (given / f"{name}{ending}").write_bytes(png(levels))
    found = import_saliency(reader, place("saliency"))
    assert (found.matched, found.missed, found.refused, found.extra, found.notes) == (4, [], [], 0, {})
    for name, levels in maps.items():
        np.testing.assert_array_equal(load_map(found.written / f"{name}.png", voc.image(name).size), levels)


def test_a_zip_gives_what_its_folder_gives(reader, voc, ids, given, place, png, zipped):
    for name in ids[:3]:
        (given / f"{name}.png").write_bytes(png(ramp(64, 48)))
    folder = import_saliency(reader, place("saliency"))
    contents = {path.name: path.read_bytes() for path in folder.written.iterdir()}
    archive = import_saliency(Reader(voc, ids, zipped(given)), place("saliency"))
    assert {path.name: path.read_bytes() for path in archive.written.iterdir()} == contents
    assert (archive.matched, archive.missed, archive.notes) == (folder.matched, folder.missed, folder.notes)


def test_images_without_a_file_and_files_without_an_image_are_told(reader, ids, given, place, png):
    for name in (ids[0], "other"):
        (given / f"{name}.png").write_bytes(png(ramp(128, 96)))
    found = import_saliency(reader, place("saliency"))
    assert (found.matched, found.missed, found.extra) == (1, ids[1:], 1)
    assert [path.name for path in found.written.iterdir()] == [f"{ids[0]}.png"]


def one(reader, place, given, name, content):
    """Import one map; return it and its findings."""
    (given / f"{name}.png").write_bytes(content)
    found = import_saliency(reader, place("saliency"))
    return np.array(Image.open(found.written / f"{name}.png")), found


def test_a_map_of_another_size_is_resized_by_the_stated_rule(reader, ids, given, place, png):
    small = ramp(64, 48)
    levels, found = one(reader, place, given, ids[0], png(small))
    expected = Image.fromarray(small).resize((128, 96), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(levels, np.array(expected))
    assert found.notes == {RESIZED: 1}


def test_a_square_map_is_stretched_and_another_aspect_ratio_refused(reader, ids, given, place, png):
    levels, found = one(reader, place, given, ids[0], png(ramp(41, 41)))
    assert levels.shape == (96, 128)
    assert found.notes == {STRETCHED: 1}
    (given / f"{ids[1]}.png").write_bytes(png(ramp(128, 96)))  # its image is 100x50
    found = import_saliency(reader, place("saliency"))
    assert found.matched == 1
    assert found.refused == [(f"given/{ids[1]}.png", "is 128x96 pixels, but its image 100x50: another aspect ratio")]


def test_colours_become_the_mean_of_the_channels(reader, ids, given, place, png):
    colours = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    levels, found = one(reader, place, given, ids[0], png(colours))
    np.testing.assert_array_equal(levels, np.round(colours.astype(float).mean(2)))
    assert found.notes == {COLOUR: 1}
    opaque = np.dstack([*[ramp(128, 96)] * 3, np.full((96, 128), 255, np.uint8)])
    levels, found = one(reader, place, given, ids[0], png(opaque))
    np.testing.assert_array_equal(levels, ramp(128, 96))
    assert found.notes == {}


def test_sixteen_bits_become_eight(reader, ids, given, place, png):
    levels, found = one(reader, place, given, ids[0], png(ramp(128, 96, np.uint16)))
    np.testing.assert_array_equal(levels, np.round(ramp(128, 96, np.uint16) / 257))
    assert found.notes == {SIXTEEN: 1}


def test_palettes_and_jpegs_are_read(reader, ids, given, place):
    stream = io.BytesIO()
    image = Image.fromarray(ramp(128, 96))
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    image.save(stream, "PNG")
    levels, _ = one(reader, place, given, ids[0], stream.getvalue())
    np.testing.assert_array_equal(levels, 255 - ramp(128, 96))
    Image.fromarray(ramp(128, 96)).save(given / f"{ids[2]}.jpg", quality=100)
    found = import_saliency(reader, place("saliency"))
    assert found.matched == 2
    assert abs(load_map(found.written / f"{ids[2]}.png").astype(int) - ramp(128, 96)).max() <= 2


def test_masks_of_zero_and_one_are_told(reader, ids, given, place, png):
    _, found = one(reader, place, given, ids[0], png((ramp(128, 96) > 100).astype(np.uint8)))
    assert found.notes == {DARK: 1}
    _, found = one(reader, place, given, ids[0], png(np.zeros((96, 128), np.uint8)))
    assert found.notes == {}


def test_damaged_files_are_refused_and_the_others_taken(reader, ids, given, place, png):
    whole = png(ramp(128, 96))
    contents = [whole, whole[: len(whole) // 2], b"GIF89a", b""]
    for name, content in zip(ids, contents, strict=True):
        (given / f"{name}.png").write_bytes(content)
    found = import_saliency(reader, place("saliency"))
    assert (found.matched, found.missed) == (1, [])
    assert [file for file, _ in found.refused] == [f"given/{name}.png" for name in ids[1:]]
    truncated, other, empty = (reason for _, reason in found.refused)
    assert truncated.startswith("cannot be decoded (")
    assert (other, empty) == ("is no PNG, JPEG or BMP image", "is empty")


def test_an_image_bomb_is_refused(reader, ids, given, place, png, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 128 * 96)
    (given / f"{ids[0]}.png").write_bytes(png(ramp(128, 96)))
    (given / f"{ids[2]}.png").write_bytes(png(ramp(256, 192)))
    found = import_saliency(reader, place("saliency"))
    assert found.matched == 1
    assert "cannot be decoded" in found.refused[0][1]


def test_two_files_of_one_image_are_refused(reader, ids, given, place, png):
    for name in (f"{ids[0]}.png", f"{ids[0]}_sal.png", f"{ids[2]}.png"):
        (given / name).write_bytes(png(ramp(128, 96)))
    found = import_saliency(reader, place("saliency"))
    assert found.matched == 1
    assert [file for file, _ in found.refused] == [f"given/{ids[0]}.png", f"given/{ids[0]}_sal.png"]
    assert "keep one of them" in found.refused[0][1]


def test_files_of_one_image_in_several_folders_are_told_apart_by_folder(reader, voc, ids, given, place, png, zipped):
    for folder in ("labels", "saliency"):
        (given / folder).mkdir()
        (given / folder / f"{ids[0]}.png").write_bytes(png(ramp(128, 96)))
    with pytest.raises(UserError, match="2 files stand for") as refused:
        import_saliency(reader, place("saliency"))
    both = f"{given / 'labels'} or {given / 'saliency'}"
    assert refused.value.fix == f"give the one folder that holds what is meant: {both}"
    with pytest.raises(UserError, match="2 files stand for") as refused:
        import_saliency(Reader(voc, ids, zipped(given)), place("saliency"))
    assert "result/saliency, unpacked" in refused.value.fix


def test_a_folder_of_other_images_says_how_files_are_matched(reader, given, place, png):
    (given / "other.png").write_bytes(png(ramp(128, 96)))
    with pytest.raises(UserError) as refused:
        import_saliency(reader, place("saliency"))
    assert refused.value.fix.startswith("files are matched by name")


def test_nothing_matched_leaves_everything_as_it_was(reader, ids, given, place, png):
    (given / "other.png").write_bytes(png(ramp(128, 96)))
    with pytest.raises(UserError, match=r"nothing in .* belongs to one of the 4 images"):
        import_saliency(reader, place("saliency"))
    (given / f"{ids[0]}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"refused \(1\).*is empty"):
        import_saliency(reader, place("saliency"))
    assert not place("saliency").target.exists()
