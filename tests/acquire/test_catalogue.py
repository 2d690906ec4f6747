"""The catalogue: the built-in entries are sound, and users mend them without touching code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from acquire.miniature import SALIENCY

from seedbed.acquire.catalogue import DataSet, load_catalogue
from seedbed.errors import UserError

BUILT_IN = load_catalogue({})
NAMES = ["voc12", "sbd", "coco14", "coco17", "duts-tr", "duts-te", "ecssd", "hku-is", "dut-omron", "pascal-s", "sod"]


def place_of(entry: DataSet, path: str) -> set[str]:
    """Return where a path inside an archive, or inside a folder, goes."""
    layouts = [archive.layout for archive in entry.archives.values()]
    matches = [(re.fullmatch(pattern, path), to) for layout in layouts for pattern, to in layout.items()]
    return {match.expand(to) for match, to in matches if match}


def given(tmp_path: Path, content: object) -> dict[str, str]:
    file = tmp_path / "mine.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return {"SEEDBED_CATALOGUE": str(file)}


def test_it_names_every_set_of_the_issue():
    assert list(BUILT_IN) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_says_what_a_user_asks(name):
    entry = BUILT_IN[name]
    assert entry.terms
    assert entry.expected
    assert entry.homepage.startswith("http")
    assert entry.unpacked > 0
    assert entry.size > 0
    assert all(place.startswith(entry.place) for place in entry.expected)
    for archive in entry.archives.values():
        assert all(source.startswith(("http://", "https://")) for source in archive.sources)


def test_known_counts():
    voc, coco = "VOCdevkit/VOC2012", "COCO2014/ImageSets/Segmentation"
    assert BUILT_IN["voc12"].expected[f"{voc}/JPEGImages"] == 17125
    assert BUILT_IN["sbd"].expected == {
        f"{voc}/SegmentationClassAug": 12031,
        f"{voc}/ImageSets/Segmentation/train_aug.txt": 10582,
    }
    assert [BUILT_IN["coco14"].expected[f"{coco}/{split}.txt"] for split in ("train", "val")] == [82081, 40137]
    # 2017 has the same images, dealt out otherwise.
    assert sum(BUILT_IN["coco14"].expected.values()) == sum(BUILT_IN["coco17"].expected.values())


@pytest.mark.parametrize(
    ("name", "path", "place"),
    [
        ("voc12", "VOCdevkit/VOC2012/JPEGImages/2007_000027.jpg", "VOCdevkit/VOC2012/JPEGImages/2007_000027.jpg"),
        ("voc12", "JPEGImages/2007_000027.jpg", "VOCdevkit/VOC2012/JPEGImages/2007_000027.jpg"),
        ("voc12", "VOC2012/ImageSets/Segmentation/val.txt", "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"),
        ("sbd", "benchmark_RELEASE/dataset/cls/2008_000002.mat", "dataset/cls/2008_000002.mat"),
        ("sbd", "benchmark_RELEASE/dataset/train.txt", "dataset/train.txt"),
        ("coco14", "train2014/COCO_train2014_000000000009.jpg", "COCO2014/JPEGImages/COCO_train2014_000000000009.jpg"),
        ("coco14", "annotations/instances_val2014.json", "instances_val.json"),
        ("coco17", "x/val2017/000000000139.jpg", "COCO2017/JPEGImages/000000000139.jpg"),
        ("duts-tr", "DUTS-TR/DUTS-TR-Image/n01.jpg", "DUTS-TR/Images/n01.jpg"),
        ("duts-tr", "all/DUTS-TR/Masks/n01.png", "DUTS-TR/Masks/n01.png"),
        ("duts-tr", "Imgs/n01.jpg", "DUTS-TR/Images/n01.jpg"),
        ("duts-te", "GT/n01.png", "DUTS-TE/Masks/n01.png"),
        ("ecssd", "ECSSD/ground_truth_mask/0001.png", "ECSSD/Masks/0001.png"),
        ("hku-is", "HKU-IS/imgs/0004.png", "HKU-IS/Images/0004.png"),
        ("dut-omron", "x/pixelwiseGT-new-PNG/im005.png", "DUT-OMRON/Masks/im005.png"),
        ("pascal-s", "salObj/datasets/masks/pascal/1.png", "PASCAL-S/Masks/1.png"),
        ("sod", "SOD/images/100075.jpg", "SOD/Images/100075.jpg"),
        ("voc12", "VOC2012_train_val/VOC2012_train_val/JPEGImages/a.jpg", "VOCdevkit/VOC2012/JPEGImages/a.jpg"),
        ("sbd", "datasets/sbd/cls/2008_000002.mat", "dataset/cls/2008_000002.mat"),
        ("coco17", "COCO2017/JPEGImages/000000000139.jpg", "COCO2017/JPEGImages/000000000139.jpg"),
        ("duts-tr", "DUTS_TR/im/n01.jpg", "DUTS-TR/Images/n01.jpg"),
        ("duts-te", "x/DUTS-TE/DUTS-TE-Mask/n01.png", "DUTS-TE/Masks/n01.png"),
        ("ecssd", "ECSSD-Image/0001.jpg", "ECSSD/Images/0001.jpg"),
        ("ecssd", "ECSSD-Mask/0001.png", "ECSSD/Masks/0001.png"),
        ("ecssd", "x/ECSSD/Imgs/0001.png", "ECSSD/Masks/0001.png"),
        ("hku-is", "HKU-IS-Image/0004.png", "HKU-IS/Images/0004.png"),
        ("hku-is", "HKU_IS/images/0004.png", "HKU-IS/Images/0004.png"),
        ("hku-is", "HKUIS/ground_truth/0004.png", "HKU-IS/Masks/0004.png"),
        ("dut-omron", "DUT-OMRON-gt-pixelwise/im005.png", "DUT-OMRON/Masks/im005.png"),
        ("dut-omron", "DUT-OMRON/pixelwiseGT-new-PNG/im005.png", "DUT-OMRON/Masks/im005.png"),
        ("dut-omron", "DUTOMRON/imgs/im005.jpg", "DUT-OMRON/Images/im005.jpg"),
        ("dut-omron", "DUT-O/Image/im005.jpg", "DUT-OMRON/Images/im005.jpg"),
        ("pascal-s", "PASCAL_S/GT/1.png", "PASCAL-S/Masks/1.png"),
    ],
)
def test_names_known_in_the_wild_find_their_place(name, path, place):
    assert place_of(BUILT_IN[name], path) == {place}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("voc12", "VOCdevkit/VOC2007/JPEGImages/000005.jpg"),
        ("voc12", "VOCdevkit/VOC2012/JPEGImages/._2007_000027.jpg"),
        ("voc12", "VOCdevkit/VOC2012/SegmentationObject/2007_000032.png"),
        ("voc12", "VOCdevkit/VOC2012/JPEGImages/../../../x.jpg"),
        ("voc12", "VOCdevkit/VOC2012/ImageSets/Segmentation/mine.txt"),
        ("sbd", "benchmark_RELEASE/dataset/inst/2008_000002.mat"),
        ("coco14", "annotations/captions_val2014.json"),
        ("coco14", "train2017/000000000009.jpg"),
        ("duts-tr", "DUTS-TE/Images/n01.jpg"),
        ("duts-tr", "DUTS-TR/Edges/n01.png"),
        ("pascal-s", "salObj/datasets/imgs/ft/1.jpg"),
        ("ecssd", "__MACOSX/images/._0001.jpg"),
    ],
)
def test_what_is_no_part_of_a_set_is_left_out(name, path):
    assert place_of(BUILT_IN[name], path) == set()


def test_no_saliency_set_takes_files_of_another_from_a_folder_with_all():
    for name, archives in SALIENCY.items():
        for member in (member for members in archives.values() for member in members):
            folder = "all" if member.count("/") > 1 else f"all/{name.upper()}"
            takers = [other for other in SALIENCY if place_of(BUILT_IN[other], f"{folder}/{member.format(1)}")]
            assert takers == [name]


def test_a_users_source_comes_first_and_the_rest_stays(tmp_path):
    mine = {"duts-tr": {"archives": {"DUTS-TR.zip": {"sources": ["http://localhost/a.zip"]}}}}
    entry = load_catalogue(given(tmp_path, mine))["duts-tr"]
    assert entry.archives["DUTS-TR.zip"].sources == [
        "http://localhost/a.zip",
        *BUILT_IN["duts-tr"].archives["DUTS-TR.zip"].sources,
    ]
    assert entry.title == BUILT_IN["duts-tr"].title
    assert entry.digest == BUILT_IN["duts-tr"].digest  # an address does not change what the set consists of


def test_a_user_can_expect_other_counts(tmp_path):
    entry = load_catalogue(given(tmp_path, {"sod": {"expected": {"SOD/Images": 299}}}))["sod"]
    assert entry.expected == {"SOD/Images": 299}
    assert entry.digest != BUILT_IN["sod"].digest


def test_a_user_can_add_a_set(tmp_path):
    words = dict.fromkeys(("title", "content", "homepage", "terms"), "mine")
    mine = {"my-set": {**words, "place": "MINE", "archives": {"a.zip": {"layout": {"(.*)": r"MINE/\1"}}}}}
    assert list(load_catalogue(given(tmp_path, mine))) == [*NAMES, "my-set"]


def test_the_mirror_is_asked_first(tmp_path):
    mine = {"duts-tr": {"archives": {"DUTS-TR.zip": {"sources": ["http://localhost/a.zip"]}}}}
    catalogue = load_catalogue({**given(tmp_path, mine), "SEEDBED_MIRROR": "http://localhost:8000/sets/"})
    assert catalogue["duts-tr"].archives["DUTS-TR.zip"].sources[:2] == [
        "http://localhost:8000/sets/DUTS-TR.zip",
        "http://localhost/a.zip",
    ]
    assert catalogue["sod"].archives["SOD.zip"].sources == ["http://localhost:8000/sets/SOD.zip"]


def test_the_mirror_tells_two_sets_with_an_archive_of_one_name_apart(tmp_path):
    mine = {"sod": {"archives": {"images.zip": {"layout": {"(.*)": r"SOD/\1"}}}}}
    catalogue = load_catalogue({**given(tmp_path, mine), "SEEDBED_MIRROR": "http://localhost:8000"})
    firsts = [catalogue[name].archives["images.zip"].sources[0] for name in ("sod", "ecssd")]
    assert firsts == ["http://localhost:8000/sod/images.zip", "http://localhost:8000/ecssd/images.zip"]


def test_a_user_can_use_and_add_patterns(tmp_path):
    layout = {"<jpegs:MINE>": r"SOD/Images/\1", "<scans:MINE>": r"SOD/Masks/\1"}
    mine = {"patterns": {"scans": r"NAME/scans/(.*)"}, "sod": {"archives": {"SOD.zip": {"layout": layout}}}}
    sod = load_catalogue(given(tmp_path, mine))["sod"]
    assert place_of(sod, "MINE/imgs/1.jpg") == {"SOD/Images/1.jpg"}
    assert place_of(sod, "MINE/scans/1.png") == {"SOD/Masks/1.png"}


@pytest.mark.parametrize("name", NAMES)
def test_what_may_come_out_of_an_archive_is_a_few_times_what_is_stated(name):
    for archive in BUILT_IN[name].archives.values():
        assert archive.size <= archive.limits.bytes <= max(64_000_000, 20 * archive.size)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("{", "is no YAML"),
        ("[1]", "must map names"),
        ({"sod": None}, "must map names"),
        ({"sod": {"archives": ["SOD.zip"]}}, "sod.archives must map"),
        ({"sod": {"tilte": "SOD"}}, "unknown parameter 'sod.tilte'; did you mean 'title'"),
        ({"sod": {"archives": {"SOD.zip": {"checksum": "md5:12"}}}}, "checksum"),
        ({"sod": {"archives": {"SOD.zip": {"layout": {"(": "x"}}}}}, "no regular expression"),
        ({"sod": {"archives": {"SOD.zip": {"layout": {"(a)": r"\2"}}}}}, "names a group"),
        ({"sod": {"archives": {"../SOD.zip": {"layout": {}}}}}, "SOD.zip"),
        ({"sod": {"needs": ["sodd"]}}, "needs sodd"),
        ({"sod": {"needs": ["ecssd"]}, "ecssd": {"needs": ["sod"]}}, "ecssd, sod need each other"),
        ({"sod": {"needs": ["sod"]}}, "sod need each other"),
        ({"sod": {"place": "../SOD"}}, "'../SOD' is no place"),
        ({"sod": {"place": "imported"}}, "'imported' is no place"),
        ({"sod": {"expected": {"/SOD": 1}}}, "'/SOD' is no place"),
        ({"state": BUILT_IN["sod"].model_dump()}, "'state' cannot be the name"),
        ({"downloads": BUILT_IN["sod"].model_dump()}, "'downloads' cannot be the name"),
        ({"new": {"title": "x"}}, "new.content"),
        ({"../new": {"title": "x"}}, "../new"),
    ],
)
def test_what_no_entry_can_hold_is_named(tmp_path, content, finding):
    with pytest.raises(UserError, match=re.escape(finding)) as caught:
        load_catalogue(given(tmp_path, content))
    assert "mine.yaml" in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read") as caught:
        load_catalogue({"SEEDBED_CATALOGUE": str(tmp_path / "none.yaml")})
    assert "unset SEEDBED_CATALOGUE" in (caught.value.fix or "")
