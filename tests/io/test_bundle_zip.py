import struct
import zipfile

import pytest

from helpers.strange_zips import Member, deflated_zeros, raw_zip
from mrh_monai.errors import BundleError
from mrh_monai.io.bundle_zip import LARGEST_FILE, MOST_FILES, BundleZip, write_bundle_zip

pytestmark = pytest.mark.sharing

FILES = {"b.md": b"two", "a/c.md": b"three", "LICENSE": b"", "Z.txt": bytes(1000)}


def contents(path):
    with BundleZip(path) as archive:
        return {name: archive.read(name) for name in archive.files}


def test_a_zip_is_read_as_it_was_written(tmp_path):
    write_bundle_zip(tmp_path / "x.zip", "mrh_x", FILES)
    with BundleZip(tmp_path / "x.zip") as archive:
        assert (archive.name, archive.files) == ("mrh_x", ["LICENSE", "Z.txt", "a/c.md", "b.md"])
        archive.unpack(tmp_path / "to")
    assert {p.relative_to(tmp_path / "to").as_posix(): p.read_bytes() for p in (tmp_path / "to").rglob("*") if p.is_file()} == FILES


def test_bytes_depend_on_names_and_contents_alone(tmp_path):
    write_bundle_zip(tmp_path / "x.zip", "m", FILES)
    write_bundle_zip(tmp_path / "y.zip", "m", dict(reversed(FILES.items())))
    assert (tmp_path / "x.zip").read_bytes() == (tmp_path / "y.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        infos = archive.infolist()
    assert {(i.date_time, i.external_attr >> 16, i.create_system, i.compress_type) for i in infos} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644, 3, zipfile.ZIP_STORED)
    }
    assert [info.filename for info in infos] == ["m/LICENSE", "m/Z.txt", "m/a/c.md", "m/b.md"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "m/../../evil", "/etc/evil", "m//evil", "m/./evil", "..", "m/..", "m\\..\\evil", "\\evil", "C:/evil", "C:evil", "m/a:b",
        "m/evil.", "m/evil ", "m/nul", "m/CON.md", "m/com1.txt", "m/a\nb", "m/a\x1b[2J", "m/a\0.md", "m/a?.md", "m/../",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused_and_nothing_is_written(tmp_path, name):
    path = raw_zip(tmp_path / "x.zip", Member("m/a.md"), Member(name))
    with pytest.raises(BundleError, match="expected a path inside the bundle, found a path that leads out of it"):
        BundleZip(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize(("mode", "found"), [(0o120777, "a link"), (0o010644, "a special file"), (0o060644, "a special file")])
def test_links_and_devices_are_refused(tmp_path, mode, found):
    with pytest.raises(BundleError, match=f"'m/b': expected a plain file, found {found}"):
        BundleZip(raw_zip(tmp_path / "x.zip", Member("m/a"), Member("m/b", b"/etc/passwd", mode=mode)))


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    with pytest.raises(BundleError, match="'m/b/': expected a plain file, found a link"):
        BundleZip(raw_zip(tmp_path / "x.zip", Member("m/b/", b"/etc", mode=0o120777), Member("m/b/c")))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("m/a", "m/a"), "expected one file of this name, found two"),
        (("m/a", "m/A"), "expected one file of this name, found two"),
        (("m/stra\u00dfe", "m/STRASSE"), "expected one file of this name, found two"),
        (("m/a", "m/a/b"), "m/a: expected a file or a folder, found both"),
        (("m/A/b", "m/a"), "m/a: expected a file or a folder, found both"),
    ],
)
def test_names_that_collide_somewhere_are_refused(tmp_path, names, message):
    with pytest.raises(BundleError, match=message):
        BundleZip(raw_zip(tmp_path / "x.zip", *map(Member, names)))


def test_other_compressions_and_passwords_are_refused(tmp_path):
    with pytest.raises(BundleError, match="a file that is stored or deflated, found compression 12"):
        BundleZip(raw_zip(tmp_path / "x.zip", Member("m/a", method=zipfile.ZIP_BZIP2)))
    with pytest.raises(BundleError, match="a file without a password, found an encrypted file"):
        BundleZip(raw_zip(tmp_path / "x.zip", Member("m/a", flags=1)))


def test_a_bomb_is_refused_by_what_it_declares(tmp_path):
    ten = Member("m/a", b"x", zipfile.ZIP_DEFLATED, 0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 10 << 30))
    with pytest.raises(BundleError, match="'m/a': expected at most 1 GiB once unpacked, found 10 GiB; do not unpack this"):
        BundleZip(raw_zip(tmp_path / "x.zip", ten))
    parts = [Member(f"m/{index}", method=zipfile.ZIP_DEFLATED, size=LARGEST_FILE) for index in range(10)]
    with pytest.raises(BundleError, match="at most 2 GiB once unpacked, found 10 GiB from a zip of 0.000"):
        BundleZip(raw_zip(tmp_path / "x.zip", *parts))


@pytest.mark.parametrize("size", [99, 5 << 20])
def test_a_member_of_another_size_than_declared_is_refused(tmp_path, size):
    path = raw_zip(tmp_path / "x.zip", Member("m/a", deflated_zeros(4), zipfile.ZIP_DEFLATED, size, crc=0x1234))
    with BundleZip(path) as archive, pytest.raises(BundleError, match="x.zip, a: expected a bundle zip, found a damaged zip"):
        archive.read("a")


def test_a_wrong_checksum_and_a_name_in_two_versions_are_refused(tmp_path):
    for member in (Member("m/a", crc=1), Member("m/a", local_name="m/b"), Member("m/a", local_name="../b")):
        with BundleZip(raw_zip(tmp_path / "x.zip", member)) as archive, pytest.raises(BundleError, match="x.zip, a: .* a damaged zip"):
            archive.read("a")


def test_a_great_many_members_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for index in range(100_000):
            archive.writestr(zipfile.ZipInfo(f"m/{index}"), b"")
    with pytest.raises(BundleError, match=f"at most {MOST_FILES} files, found 100000"):
        BundleZip(tmp_path / "x.zip")


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("not a zip")
    (tmp_path / "nothing.zip").write_bytes(b"")
    for name in ("text.zip", "nothing.zip"):
        with pytest.raises(BundleError, match="a damaged zip, or another kind of file"):
            BundleZip(tmp_path / name)
    with pytest.raises(BundleError, match="expected a bundle zip, found a folder"):
        BundleZip(tmp_path)
    with pytest.raises(BundleError, match="expected a bundle zip, found no such file"):
        BundleZip(tmp_path / "none.zip")
    for path in (raw_zip(tmp_path / "x.zip"), raw_zip(tmp_path / "y.zip", Member("m/", b""))):
        with pytest.raises(BundleError, match="expected a bundle zip, found an empty zip"):
            BundleZip(path)


def test_every_truncation_is_refused(tmp_path):
    write_bundle_zip(tmp_path / "x.zip", "m", FILES)
    data = (tmp_path / "x.zip").read_bytes()
    for length in [*range(0, len(data), 37), len(data) - 1]:
        (tmp_path / "y.zip").write_bytes(data[:length])
        with pytest.raises(BundleError, match="y.zip: expected a bundle zip, found a damaged zip"):
            BundleZip(tmp_path / "y.zip")


def test_every_flipped_bit_of_a_content_is_found(tmp_path):
    write_bundle_zip(tmp_path / "x.zip", "m", FILES)
    data = (tmp_path / "x.zip").read_bytes()
    places = [data.index(content) + offset for content in FILES.values() if content for offset in (0, len(content) - 1)]
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 4
        (tmp_path / "y.zip").write_bytes(flipped)
        with pytest.raises(BundleError, match="Bad CRC-32"):
            contents(tmp_path / "y.zip")


def test_files_at_the_top_have_no_bundle_name(tmp_path):
    for names in (("a", "m/b"), ("m/a", "n/b"), ("m",)):
        with BundleZip(raw_zip(tmp_path / "x.zip", *map(Member, names))) as archive:
            assert (archive.name, archive.files) == ("", sorted(names))


def test_nothing_but_contents_is_taken_over(tmp_path):
    path = raw_zip(tmp_path / "x.zip", Member("m/run", b"#!/bin/sh", mode=0o104777))
    with BundleZip(path) as archive:
        archive.unpack(tmp_path / "to")
    assert (tmp_path / "to" / "run").stat().st_mode & 0o7111 == 0
