import numpy as np
import pytest
from PIL import Image

from seedbed.data.masks import read_mask, voc_palette, write_mask
from seedbed.errors import UserError
from seedbed.exchange.imports.pseudo_labels import COLOUR, import_pseudo
from seedbed.exchange.imports.reading import Reader


@pytest.fixture
def mask():
    """Ids 0, 3, 5 and 255, at the size of the first image."""
    return np.repeat(np.array([0, 3, 5, 255], np.uint8), 96 * 32).reshape(96, 128)


@pytest.fixture
def one(reader, ids, given, place):
    """Import one mask; return it as it was written, and the findings."""

    def run(content, **options):
        if isinstance(content, Image.Image):
            content.save(given / f"{ids[0]}.png")
        else:
            (given / f"{ids[0]}.png").write_bytes(content)
        found = import_pseudo(reader, place("pseudo"), **options)
        written = Image.open(found.written / f"{ids[0]}.png")
        assert written.mode == "P"
        assert np.array_equal(np.reshape(written.getpalette(), (-1, 3)), voc_palette())
        return read_mask(found.written / f"{ids[0]}.png"), found

    return run


def test_grey_palette_and_colours_are_the_same_mask(one, mask, ids, given, reader, place):
    write_mask(given / f"{ids[0]}.png", mask)
    found = import_pseudo(reader, place("pseudo"))
    np.testing.assert_array_equal(read_mask(found.written / f"{ids[0]}.png"), mask)
    assert (found.matched, found.missed, found.refused, found.notes) == (1, ids[1:], [], {})
    colours = voc_palette()[mask]
    opaque = np.dstack([colours, np.full(mask.shape, 255, np.uint8)])
    for image, notes in ((mask, {}), (colours, {COLOUR: 1}), (opaque, {COLOUR: 1})):
        written, found = one(Image.fromarray(image))
        np.testing.assert_array_equal(written, mask)
        assert found.notes == notes


def test_a_palette_of_grey_levels_is_of_ids(one, mask):
    image = Image.fromarray(mask)
    image.putpalette([level for level in range(256) for _ in range(3)])
    np.testing.assert_array_equal(one(image)[0], mask)


def test_another_id_can_mean_ignore(one, mask):
    given = mask.copy()
    given[mask == 255] = 21
    written, _ = one(Image.fromarray(given), ignore=21)
    np.testing.assert_array_equal(written, mask)
    given[0] = 255
    assert (one(Image.fromarray(given), ignore=21)[0][0] == 255).all()


def test_the_commonest_unknown_id_is_offered_as_ignore(reader, ids, given, place, mask):
    for name, unknown in ((ids[0], 30), (ids[2], 21), (ids[3], 21)):
        write_mask(given / f"{name}.png", np.where(mask == 255, unknown, mask).astype(np.uint8))
    with pytest.raises(UserError, match=r"refused \(3\).*unknown ids \(21\)") as refused:
        import_pseudo(reader, place("pseudo"))
    assert refused.value.fix.startswith("give --ignore 21")


@pytest.mark.parametrize("ignore", [5, 0, -1, 256])
def test_a_class_cannot_mean_ignore(reader, place, ignore):
    with pytest.raises(UserError, match="cannot mean ignore"):
        import_pseudo(reader, place("pseudo"), ignore=ignore)


def reordered(mask):
    """Return a palette image as an optimiser leaves it: the ids used come first."""
    ids, places = np.unique(mask, return_inverse=True)
    image = Image.fromarray(places.reshape(mask.shape).astype(np.uint8))
    image.putpalette(voc_palette()[ids].tobytes())
    return image


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda mask: Image.fromarray(mask[:, :100]), "is 100x96 pixels, but its image 128x96: labels are not resized"),
        (lambda mask: Image.fromarray(np.where(mask == 5, 21, mask).astype(np.uint8)), "holds unknown ids (21)"),
        (lambda mask: Image.fromarray(np.full((96, 128, 3), 7, np.uint8)), "holds the colour (7, 7, 7)"),
        (lambda mask: Image.fromarray(np.zeros((96, 128, 4), np.uint8)), "is transparent"),
        (lambda mask: Image.fromarray(mask.astype(np.uint16)), "has pixels of mode I;16"),
        (reordered, "its palette gives VOC's colours to other ids"),
        (lambda mask: b"", "is empty"),
    ],
)
def test_what_is_no_mask_is_refused_with_the_reason(one, mask, make, reason):
    with pytest.raises(UserError) as refused:
        one(make(mask))
    assert reason in refused.value.message


def test_a_zip_is_read(voc, ids, given, place, mask, zipped):
    write_mask(given / f"{ids[0]}.png", mask)
    found = import_pseudo(Reader(voc, ids, zipped(given)), place("pseudo"))
    np.testing.assert_array_equal(read_mask(found.written / f"{ids[0]}.png"), mask)
