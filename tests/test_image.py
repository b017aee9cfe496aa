"""Image files against OpenCV and Pillow; resize, sampling and colour against NumPy and colorsys."""

import colorsys
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from yolomask._native import DataError, check, ffi, lib

SHAPES = [(1, 1), (1, 9), (9, 1), (17, 23), (64, 48)]


def to_array(image):
    """A copy of a dn_image as (height, width, 3)."""
    data = ffi.buffer(image.data, image.width * image.height * 3)
    return np.frombuffer(data, np.uint8).reshape(image.height, image.width, 3).copy()


def load_with(function, *arguments):
    image = ffi.new("dn_image *")
    check(function(*arguments, image))
    pixels = to_array(image)
    lib.dn_image_free(image)
    assert image.data == ffi.NULL
    return pixels


def load(path):
    return load_with(lib.dn_image_load, str(path).encode())


def load_bytes(content, name="memory"):
    return load_with(lib.dn_image_load_memory, bytes(content), len(content), name.encode())


def size_of(path):
    width, height = ffi.new("int32_t *"), ffi.new("int32_t *")
    check(lib.dn_image_size(str(path).encode(), width, height))
    return width[0], height[0]


def load_labels(path):
    labels, width, height = (
        ffi.new("uint16_t **"),
        ffi.new("int32_t *"),
        ffi.new("int32_t *"),
    )
    check(lib.dn_label_png_load(str(path).encode(), labels, width, height))
    data = ffi.buffer(labels[0], width[0] * height[0] * 2)
    array = np.frombuffer(data, np.uint16).reshape(height[0], width[0]).copy()
    lib.dn_buffer_free(labels[0])
    return array


def view(pixels):
    """A dn_image over a contiguous array, which must outlive it."""
    return ffi.new(
        "dn_image *",
        (pixels.shape[1], pixels.shape[0], ffi.cast("uint8_t *", pixels.ctypes.data)),
    )


def noise(height, width, channels=3, seed=0, dtype=np.uint8):
    random = np.random.default_rng(seed)
    return random.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)


def smooth(height, width):
    """A picture with structure, as JPEG likes it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [128 + 100 * np.sin(x / 7 + c) * np.cos(y / (5 + c)) for c in range(3)]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


def encode(ending, pixels, *options):
    fine, content = cv2.imencode(ending, pixels, list(options))
    assert fine
    return content.tobytes()


def opencv(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


# ---- formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("progressive", [0, 1])
def test_jpeg(shape, channels, progressive):
    pixels = smooth(*shape)[:, :, :channels]
    content = encode(".jpg", pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    ours, theirs = load_bytes(content), opencv(content)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    if channels == 1:
        assert (ours == ours[:, :, :1]).all()


def test_jpeg_of_inks():
    images = pytest.importorskip("PIL.Image")
    import io

    rgb = smooth(40, 56)
    inks = images.fromarray(rgb).convert("CMYK")
    stream = io.BytesIO()
    inks.save(stream, "JPEG", quality=98)
    content = stream.getvalue()
    ours = load_bytes(content).astype(int)
    assert np.abs(ours - rgb).max() <= 14 and np.abs(ours - rgb).mean() < 2.5
    assert np.abs(ours - opencv(content)).max() <= 2
    # The Adobe marker's last byte says how the inks are coded: 2 is YCCK.
    at = content.index(b"Adobe") + 11
    assert content[at] == 0
    turned = content[:at] + b"\2" + content[at + 1 :]
    ours = load_bytes(turned).astype(int)
    assert np.abs(ours - opencv(turned)).max() <= 2
    assert np.abs(ours - rgb).max() > 50  # it really took the other way


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png(shape, channels, dtype):
    content = encode(".png", noise(*shape, channels, dtype=dtype))
    assert np.array_equal(load_bytes(content), opencv(content))


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_png(width, height, depth, kind, rows, extra=b"", interlace=0):
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", head),
            extra,
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        ]
    )


PALETTE = np.array([[0, 0, 0], [255, 10, 3], [4, 200, 90], [7, 8, 250]], np.uint8)


def make_palette_png(indices, transparent=False):
    """Two bits a pixel; `indices` is (height, width) of 0..3 with a width that 4 divides."""
    packed = (
        indices[:, 0::4] << 6 | indices[:, 1::4] << 4 | indices[:, 2::4] << 2 | indices[:, 3::4]
    )
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in packed)
    extra = png_chunk(b"PLTE", PALETTE.tobytes())
    if transparent:
        extra += png_chunk(b"tRNS", bytes([0, 128, 255, 7]))
    height, width = indices.shape
    return make_png(width, height, 2, 3, rows, extra)


@pytest.mark.parametrize("transparent", [False, True])
def test_png_with_a_palette(transparent, tmp_path):
    indices = np.random.default_rng(1).integers(0, 4, (5, 12))
    content = make_palette_png(indices, transparent)
    assert np.array_equal(load_bytes(content), PALETTE[indices])
    path = tmp_path / "palette.png"
    path.write_bytes(content)
    assert np.array_equal(load_labels(path), indices)  # labels are the indices themselves


def test_png_of_single_bits():
    rows = b"\0\xa5\x80" + b"\0\x0f\x00"
    bits = [[1, 0, 1, 0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1, 0]]
    pixels = load_bytes(make_png(9, 2, 1, 0, rows))
    assert np.array_equal(pixels, np.repeat(np.array(bits)[:, :, None] * 255, 3, axis=2))


def test_png_interlaced():
    images = pytest.importorskip("PIL.Image")
    import io

    # Seven passes of a 1x1 picture are one; a larger one is written by hand: pass after pass.
    height, width = 11, 13
    pixels = noise(height, width, 3, seed=9)
    rows = b""
    for x0, y0, dx, dy in [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]:
        part = pixels[y0::dy, x0::dx]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    content = make_png(width, height, 8, 2, rows, interlace=1)
    assert np.array_equal(np.asarray(images.open(io.BytesIO(content))), pixels)
    assert np.array_equal(load_bytes(content), pixels)


@pytest.mark.parametrize("ending,channels", [(".ppm", 3), (".pgm", 1)])
def test_ppm(ending, channels):
    content = encode(ending, noise(7, 10, channels), cv2.IMWRITE_PXM_BINARY, 1)
    assert np.array_equal(load_bytes(content), opencv(content))


def test_ppm_headers_and_depths():
    samples = bytes(range(6))
    wanted = np.array([0, 51, 102, 153, 204, 255], np.uint8).reshape(1, 2, 3)
    assert np.array_equal(load_bytes(b"P6\n# by hand\n2 # wide\n1\n5\n" + samples), wanted)
    wide = np.array([0, 13107, 26214, 39321, 52428, 65535], ">u2").tobytes()
    assert np.array_equal(load_bytes(b"P6 2 1 65535\n" + wide), wanted)


def test_the_name_does_not_matter(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(encode(".png", noise(6, 5)))
    assert load(path).shape == (6, 5, 3)
    assert size_of(path) == (5, 6)


# ---- orientation ----------------------------------------------------------------------------


def exif_block(orientation, order="<", kind=3):
    """A TIFF header and a directory of three entries, the orientation in the middle."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entries = b"".join(
        [
            struct.pack(order + "HHII", 0x010F, 2, 4, 0x41414141),
            struct.pack(order + "HHIHH", 0x0112, kind, 1, orientation, 0),
            struct.pack(order + "HHII", 0x8769, 4, 1, 0),
        ]
    )
    return head + struct.pack(order + "H", 3) + entries + struct.pack(order + "I", 0)


def jpeg_with_exif(content, block):
    body = b"Exif\0\0" + block
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + content[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, order, tmp_path):
    stored = smooth(24, 40)
    stored[:8, :8] = 255  # a mark that tells all eight apart
    stored[:8, 32:] = 0
    content = jpeg_with_exif(
        encode(".jpg", stored, cv2.IMWRITE_JPEG_QUALITY, 95),
        exif_block(orientation, order),
    )
    theirs = opencv(content)
    assert theirs.shape[:2] == ((40, 24) if orientation >= 5 else (24, 40))
    assert np.abs(load_bytes(content).astype(int) - theirs).max() <= 2
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert size_of(path) == theirs.shape[1::-1]


def test_exif_orientation_of_png():
    stored = noise(4, 6)
    plain = encode(".png", stored)
    chunk = png_chunk(b"eXIf", exif_block(6))
    content = plain[:33] + chunk + plain[33:]
    assert np.array_equal(load_bytes(content), np.rot90(load_bytes(plain), -1))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"XX*\0" + exif_block(6)[4:],
        exif_block(0),
        exif_block(9),
        exif_block(6, kind=2),
        exif_block(6)[:12],
        exif_block(6)[:30],
        b"II*\0" + struct.pack("<I", 0xFFFFFFFF) + exif_block(6)[8:],
        b"II*\0" + struct.pack("<I", 0xFFFFFFFF - 1),
    ],
)
def test_damaged_exif_means_as_stored(block):
    plain = encode(".jpg", smooth(24, 40))
    assert np.array_equal(load_bytes(jpeg_with_exif(plain, block)), load_bytes(plain))


def test_size_behind_long_headers(tmp_path):
    plain = encode(".jpg", smooth(24, 40))
    filler = b"\xff\xe2" + struct.pack(">H", 65535) + bytes(65533)
    path = tmp_path / "profile.jpg"
    path.write_bytes(plain[:2] + filler * 3 + plain[2:])
    assert size_of(path) == (40, 24)
    assert load(path).shape == (24, 40, 3)


# ---- bad files ------------------------------------------------------------------------------


def assert_refused(path, kind, *words):
    """Loading and, unless only the pixels are damaged, measuring fail with one sentence."""
    image = ffi.new("dn_image *", {"width": 77})
    with pytest.raises(kind) as caught:
        check(lib.dn_image_load(str(path).encode(), image))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for word in words:
        assert word in message, message
    assert image.width == 77 and image.data == ffi.NULL  # untouched
    return message


def test_missing_and_folder(tmp_path):
    assert_refused(tmp_path / "none.jpg", OSError, "No such file")
    assert_refused(tmp_path, OSError, "directory")
    with pytest.raises(OSError, match="none.jpg"):
        size_of(tmp_path / "none.jpg")
    with pytest.raises(OSError, match="directory"):
        size_of(tmp_path)


JPEG = encode(".jpg", smooth(48, 64))
PROGRESSIVE = encode(".jpg", smooth(48, 64), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
PNG = encode(".png", noise(48, 64))
PPM = encode(".ppm", noise(48, 64))


@pytest.mark.parametrize(
    "content,words",
    [
        (b"", ["empty"]),
        (b"\n", ["no JPEG, PNG or PPM"]),
        (b"hello, this is a text file\n" * 9, ["no JPEG, PNG or PPM"]),
        (b"%s%n%s", ["no JPEG, PNG or PPM"]),
        (b"\xff\xd8\xff", ["JPEG"]),
        (b"\xff\xd8\xff" + b"\0" * 100, ["JPEG"]),
        (PNG[:8], ["PNG", "ends early"]),
        (b"P6", ["no JPEG, PNG or PPM"]),
        (b"P6 3", ["PPM"]),
        (b"P6 3 x 255\n", ["PPM"]),
        (b"P6 3 3 70000\n" + bytes(50), ["PPM"]),
        (b"P6 3 3 0\n" + bytes(50), ["PPM"]),
        (b"P6 0 3 255\n", ["0 x 3"]),
        (b"P6 4 4 255\n" + bytes(47), ["ends early"]),
    ],
)
def test_no_image(content, words, tmp_path):
    path = tmp_path / "bad %s file.jpg"
    path.write_bytes(content)
    assert_refused(path, DataError, *words)


@pytest.mark.parametrize(
    "content", [JPEG, PROGRESSIVE, PNG, PPM], ids=["jpg", "prog", "png", "ppm"]
)
def test_cut_files(content, tmp_path):
    path = tmp_path / "cut"
    assert load_bytes(content).shape == (48, 64, 3)
    for share in (0.02, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        assert_refused(path, DataError)
    path.write_bytes(content[: len(content) * 2 // 3])
    assert_refused(path, DataError, "ends early")
    assert size_of(path) == (64, 48)  # the headers are whole


def jpeg_of_size(width, height):
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def png_of_size(width, height):
    return make_png(width, height, 8, 2, b"\0" * 100)


@pytest.mark.parametrize(
    "content,words",
    [
        (jpeg_of_size(65000, 65000), ["65000 x 65000", "268435456"]),
        (jpeg_of_size(65535, 1), ["JPEG"]),  # more than libjpeg takes
        (
            jpeg_of_size(16000, 16000),
            ["ends early"],
        ),  # allowed, but not in these few bytes
        (png_of_size(2**31 - 1, 2**31 - 1), ["2147483647 x 2147483647"]),
        (png_of_size(65536, 1), ["65536 x 1", "65535"]),
        (png_of_size(0, 7), ["0 x 7"]),
        (b"P6 99999 99999 255\n", ["99999 x 99999"]),
        (b"P6 16000 16000 255\n", ["ends early"]),
    ],
)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(content, words, tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(content)
    lib.dn_test_fail_allocation(1)  # the first is the file itself; another one would be the pixels
    try:
        assert_refused(path, DataError, *words)
    finally:
        lib.dn_test_fail_allocation(-1)


def test_png_that_cannot_hold_its_pixels(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(png_of_size(16000, 16000))
    assert_refused(path, DataError, "ends early")


def test_thousands_of_scans_are_refused():
    at = PROGRESSIVE.rindex(b"\xff\xda")
    last_scan = PROGRESSIVE[at:-2]
    content = PROGRESSIVE[:at] + last_scan * 1000 + PROGRESSIVE[-2:]
    with pytest.raises(DataError, match="scans"):
        load_bytes(content)


def test_damaged_bytes_never_crash():
    random = np.random.default_rng(11)
    exif = jpeg_with_exif(JPEG, exif_block(6))
    label = encode(".png", noise(20, 30, 1, dtype=np.uint16))
    fine = 0
    for content in (
        JPEG,
        PROGRESSIVE,
        PNG,
        PPM,
        exif,
        label,
        make_palette_png(np.zeros((5, 8), int)),
    ):
        for _ in range(150):
            damaged = bytearray(content)
            for at in random.integers(0, len(content), random.integers(1, 6)):
                damaged[at] = random.integers(0, 256)
            cut = len(damaged) if random.random() < 0.7 else random.integers(0, len(damaged))
            try:
                load_bytes(damaged[:cut])
                fine += 1
            except DataError:
                pass
    assert 20 < fine < 1000


@pytest.mark.parametrize(
    "content",
    [
        JPEG,
        PROGRESSIVE,
        PNG,
        PPM,
        jpeg_with_exif(JPEG, exif_block(6)),
        make_palette_png(np.zeros((5, 8), int)),
    ],
    ids=["jpg", "progressive", "png", "ppm", "exif", "palette"],
)
def test_every_allocation_may_fail(content, tmp_path, fail_allocations):
    path = tmp_path / "image"
    path.write_bytes(content)
    assert fail_allocations(lambda: load(path)) >= 2


# ---- labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_png(dtype, tmp_path, fail_allocations):
    labels = noise(13, 17, 1, dtype=dtype)[:, :, 0]
    labels[0, 0] = np.iinfo(dtype).max
    path = tmp_path / "labels.png"
    path.write_bytes(encode(".png", labels))
    assert np.array_equal(load_labels(path), labels)
    fail_allocations(lambda: load_labels(path))


def test_label_png_of_few_bits_keeps_the_numbers(tmp_path):
    path = tmp_path / "labels.png"
    path.write_bytes(make_png(4, 1, 4, 0, b"\0\x0f\x73"))
    assert load_labels(path).tolist() == [[0, 15, 7, 3]]


def test_bad_label_files(tmp_path):
    path = tmp_path / "labels.png"
    for content, words in [
        (PNG, "one channel.*has 3"),
        (encode(".png", noise(4, 4, 4)), "one channel.*has 4"),
        (JPEG, "no PNG"),
        (b"", "no PNG"),
        (encode(".png", noise(40, 40, 1))[:700], "ends early"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=words) as caught:
            load_labels(path)
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(OSError, match="nothing.png"):
        load_labels(tmp_path / "nothing.png")


def test_nuclei_labels(datasets):
    paths = sorted((datasets / "nuclei").rglob("*.png"))
    if not paths:
        pytest.skip("the nuclei data set is not there")
    wide = 0
    for path in paths[:20]:
        theirs = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if theirs.ndim == 2:
            assert np.array_equal(load_labels(path), theirs)
            wide += theirs.dtype == np.uint16
        assert size_of(path) == theirs.shape[1::-1]
    assert wide


def test_photos(datasets):
    paths = sorted((datasets / "coco125").rglob("*.jpg"))[:15]
    assert paths
    for path in paths:
        theirs = cv2.imread(str(path))[:, :, ::-1]
        assert np.abs(load(path).astype(int) - theirs).max() <= 2
        assert size_of(path) == theirs.shape[1::-1]


# ---- saving ---------------------------------------------------------------------------------


def save(path, pixels):
    check(lib.dn_image_save(str(path).encode(), view(pixels)))


@pytest.mark.parametrize("shape", SHAPES)
def test_save(shape, tmp_path, fail_allocations):
    pixels = smooth(*shape)
    for name, tolerance in [("a.png", 0), ("b.JPG", 40), ("c.jpeg", 40)]:
        path = tmp_path / name
        save(path, pixels)
        theirs = cv2.imread(str(path))[:, :, ::-1].astype(int)
        assert np.abs(theirs - pixels).max() <= tolerance
        fail_allocations(lambda path=path: save(path, pixels))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.JPG", "c.jpeg"]


def test_save_refuses(tmp_path):
    pixels = noise(4, 4)
    with pytest.raises(ValueError, match=r"x\.gif: .*\.png, \.jpg"):
        save(tmp_path / "x.gif", pixels)
    with pytest.raises(OSError, match="No such file"):
        save(tmp_path / "nowhere" / "x.png", pixels)
    with pytest.raises(ValueError, match="empty"):
        check(lib.dn_image_save(b"x.png", ffi.new("dn_image *")))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match="cannot write: Is a directory"):
        save(tmp_path / "folder.png", pixels)
    with pytest.raises(ValueError, match="65500"):
        save(tmp_path / "x.jpg", np.zeros((1, 65501, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_save_on_a_full_disk():
    # Whatever is written through this name vanishes with "No space left on device".
    import os

    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"full-{os.getpid()}")
    os.makedirs(folder)
    try:
        for name in ("x.png", "x.jpg"):
            path = os.path.join(folder, name)
            os.symlink("/dev/full", path + ".tmp")
            with pytest.raises(OSError, match=name):
                save(path, noise(64, 64))
            assert os.listdir(folder) == []
    finally:
        os.rmdir(folder)


# ---- input ----------------------------------------------------------------------------------


def to_input(pixels, net, stretch=False, threads=1):
    height, width = pixels.shape[:2]
    box = ffi.new("dn_letterbox *", lib.dn_letterbox_make(width, height, *net, stretch))
    out = np.full((3, net[1], net[0]), np.nan, np.float32)
    check(lib.dn_image_to_input(view(pixels), box, threads, ffi.from_buffer("float[]", out)))
    return out, box


def resize_axis(planes, size):
    """The published rule along the last axis, in float32 (reference 3.7)."""
    source = planes.shape[-1]
    scale = np.float32(source - 1) / np.float32(size - 1) if size > 1 else np.float32(0)
    out = np.empty((*planes.shape[:-1], size), np.float32)
    for i in range(size):
        if i == size - 1 or source == 1:
            out[..., i] = planes[..., source - 1]
        else:
            position = np.float32(i) * scale
            left = int(position)
            weight = position - np.float32(left)
            out[..., i] = (np.float32(1) - weight) * planes[..., left]
            out[..., i] += weight * planes[..., left + 1]
    return out


def published_input(pixels, box):
    planes = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    planes = resize_axis(planes, box.new_w)
    planes = resize_axis(planes.transpose(0, 2, 1), box.new_h).transpose(0, 2, 1)
    out = np.full((3, box.net_h, box.net_w), 0.5, np.float32)
    out[:, box.pad_y : box.pad_y + box.new_h, box.pad_x : box.pad_x + box.new_w] = planes
    return out


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize(
    "shape,net",
    [
        ((37, 53), (96, 64)),
        ((427, 640), (416, 416)),
        ((64, 64), (32, 32)),
        ((1, 1), (32, 64)),
        ((1, 300), (32, 32)),
        ((300, 1), (33, 31)),
        ((5, 7), (1, 1)),
        ((416, 416), (416, 416)),
        ((33, 480), (64, 32)),
    ],
)
def test_input_follows_the_published_rule(isa, shape, net, stretch):
    pixels = noise(*shape, seed=2)
    ours, box = to_input(pixels, net, stretch)
    assert np.array_equal(ours, published_input(pixels, box))


def test_input_of_the_reference():
    pixels = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    ours, _ = to_input(pixels, (3, 1), stretch=True)
    assert ours.tolist() == [[[0, 0.5, 1]]] * 3


def test_input_of_the_same_size_is_a_copy():
    pixels = noise(32, 64)
    ours, _ = to_input(pixels, (64, 32))
    assert np.array_equal(ours, pixels.transpose(2, 0, 1) / np.float32(255))


def test_input_is_where_the_box_map_says():
    pixels = np.zeros((500, 333, 3), np.uint8)
    pixels[200:300, 100:200] = 255
    ours, box = to_input(pixels, (416, 416))
    there = lib.dn_letterbox_to_net(box, {"x0": 100, "y0": 200, "x1": 200, "y1": 300})
    y, x = np.nonzero(ours[0, :, box.pad_x : box.pad_x + box.new_w] > 0.5)
    x += box.pad_x
    assert abs(x.min() - there.x0) < 1 and abs(x.max() + 1 - there.x1) < 1
    assert abs(y.min() - there.y0) < 1 and abs(y.max() + 1 - there.y1) < 1


def test_input_refuses_a_letterbox_of_another_size():
    box = ffi.new("dn_letterbox *", lib.dn_letterbox_make(10, 10, 32, 32, False))
    with pytest.raises(ValueError, match="made for 10 x 10.*is 9 x 8"):
        check(lib.dn_image_to_input(view(noise(8, 9)), box, 1, ffi.new("float[3072]")))


# ---- sampling -------------------------------------------------------------------------------


def sample(pixels, affine, size, fill=0.5, threads=1):
    out = np.full((3, size[1], size[0]), np.nan, np.float32)
    affine = ffi.new("dn_affine *", affine)
    check(
        lib.dn_image_sample(
            view(pixels), affine, *size, fill, threads, ffi.from_buffer("float[]", out)
        )
    )
    return out


def planar(pixels):
    return pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def whole(pixels, size):
    """The map that shows the whole image."""
    return {"scale_x": pixels.shape[1] / size[0], "scale_y": pixels.shape[0] / size[1]}


def test_sample_identity_and_mirrors():
    pixels = noise(20, 30)
    assert np.array_equal(sample(pixels, {"scale_x": 1, "scale_y": 1}, (30, 20)), planar(pixels))
    mirrored = {"scale_x": -1, "scale_y": 1, "offset_x": 30}
    assert np.array_equal(sample(pixels, mirrored, (30, 20)), planar(pixels)[:, :, ::-1])
    upside = {"scale_x": 1, "scale_y": -1, "offset_y": 20}
    assert np.array_equal(sample(pixels, upside, (30, 20)), planar(pixels)[:, ::-1])


@pytest.mark.parametrize("size", [(60, 40), (47, 31), (30, 20), (23, 13), (15, 10), (300, 10)])
def test_sample_is_bilinear_up_to_half_the_size(size):
    pixels = noise(20, 30)
    theirs = cv2.resize(planar(pixels).transpose(1, 2, 0), size, interpolation=cv2.INTER_LINEAR)
    ours = sample(pixels, whole(pixels, size), size).transpose(1, 2, 0)
    assert np.abs(ours - theirs).max() < 1e-4


def triangle_matrix(source, size, scale, offset):
    """(size, source): rows of normalised triangle weights, empty outside (float64)."""
    centre = scale * (np.arange(size) + 0.5) + offset
    radius = max(1, abs(scale) / 2)
    distance = np.abs(np.arange(source)[None] + 0.5 - centre[:, None])
    weights = np.maximum(1 - distance / radius, 0)
    weights /= weights.sum(axis=1, keepdims=True).clip(1e-30)
    weights[(centre < 0) | (centre >= source)] = 0
    return weights


@pytest.mark.parametrize(
    "affine",
    [
        {"scale_x": 4, "scale_y": 3, "offset_x": -20, "offset_y": 5},
        {"scale_x": -2.7, "scale_y": 0.4, "offset_x": 70, "offset_y": -3.3},
        {"scale_x": 1.5, "scale_y": -9, "offset_x": 11.25, "offset_y": 130},
        {"scale_x": 300, "scale_y": 0.01, "offset_x": 0, "offset_y": 59.9},
    ],
)
def test_sample_through_any_map(affine):
    pixels = noise(60, 80)
    width, height, fill = 33, 21, 0.25
    down = triangle_matrix(60, height, affine["scale_y"], affine["offset_y"])
    across = triangle_matrix(80, width, affine["scale_x"], affine["offset_x"])
    wanted = down @ planar(pixels).astype(np.float64) @ across.T
    outside = (down.sum(axis=1) == 0)[:, None] | (across.sum(axis=1) == 0)[None]
    wanted[:, outside] = fill
    ours = sample(pixels, affine, (width, height), fill)
    assert np.abs(ours - wanted).max() < 1e-5
    assert (ours[:, outside] == fill).all()


def test_sample_averages_where_the_image_shrinks():
    board = np.zeros((64, 64, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    assert np.abs(sample(board, whole(board, (13, 13)), (13, 13)) - 0.5).max() < 0.08
    pixels = smooth(120, 160)
    small = sample(pixels, whole(pixels, (20, 15)), (20, 15)).transpose(1, 2, 0)
    area = cv2.resize(pixels, (20, 15), interpolation=cv2.INTER_AREA) / 255
    assert np.abs(small - area).max() < 0.06


def test_sample_is_where_the_box_map_says():
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[50:100, 30:150] = 255
    box = {"x0": 30, "y0": 50, "x1": 150, "y1": 100}
    net = {"x0": 12, "y0": 7, "x1": 112, "y1": 107}
    affine = lib.dn_affine_between(net, {"x0": 0, "y0": 0, "x1": 300, "y1": 200})
    for turned in (
        affine,
        lib.dn_affine_flip_x(affine, 128),
        lib.dn_affine_flip_y(affine, 128),
    ):
        pointer = ffi.new("dn_affine *", turned)
        out = sample(
            pixels,
            [turned.scale_x, turned.scale_y, turned.offset_x, turned.offset_y],
            (128, 128),
            0,
        )
        there = lib.dn_affine_to_net(pointer, box)
        assert out[0].sum() == pytest.approx(lib.dn_box_area(there), rel=0.05)
        y, x = np.mgrid[0:128, 0:128] + 0.5
        assert (out[0] * x).sum() / out[0].sum() == pytest.approx(
            (there.x0 + there.x1) / 2, abs=0.1
        )
        assert (out[0] * y).sum() / out[0].sum() == pytest.approx(
            (there.y0 + there.y1) / 2, abs=0.1
        )


def test_sample_refuses(fail_allocations):
    pixels = noise(8, 8)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not finite"):
            sample(pixels, {"scale_x": bad, "scale_y": 1}, (4, 4))
    with pytest.raises(ValueError, match="sampling 0 x 4"):
        sample(pixels, {"scale_x": 1, "scale_y": 1}, (0, 4))
    assert (sample(pixels, {"scale_x": 1e30, "scale_y": -1e30}, (4, 4), 0.5) == 0.5).all()
    assert np.isfinite(sample(pixels, {"scale_x": 0, "scale_y": 0}, (4, 4))).all()
    fail_allocations(lambda: sample(pixels, {"scale_x": 1, "scale_y": 1}, (4, 4)))
    fail_allocations(lambda: to_input(pixels, (4, 4)))


# ---- colour ---------------------------------------------------------------------------------


def hsv(planes, hue, saturation, exposure, threads=1):
    out = np.ascontiguousarray(planes, np.float32).copy()
    pointer = ffi.from_buffer("float[]", out)
    lib.dn_image_hsv(pointer, out[0].size, hue, saturation, exposure, threads)
    return out


@pytest.mark.parametrize(
    "change",
    [(0, 1, 1), (0.1, 1, 1), (-0.35, 0.6, 1.2), (0.5, 1.5, 0.7), (-0.1, 1 / 1.5, 1.5)],
)
def test_hsv(isa, change):
    colours = np.random.default_rng(7).random((3, 500)).astype(np.float32)
    colours[:, :8] = [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1], [0, 1] * 4]
    ours = hsv(colours, *change)
    for i in range(colours.shape[1]):
        h, s, v = colorsys.rgb_to_hsv(*colours[:, i].astype(float))
        wanted = colorsys.hsv_to_rgb((h + change[0]) % 1, s * change[1], v * change[2])
        assert np.abs(ours[:, i] - np.clip(wanted, 0, 1)).max() < 1e-5


def test_hsv_gives_the_same_bits_by_vectors():
    """Few values, so that channels often tie; 1003 pixels are no whole number of vectors."""
    values = np.arange(9, dtype=np.float32) / 8
    colours = np.random.default_rng(8).choice(values, (3, 1003))
    given = os.environ.get("DARKNET_ISA", "").encode()
    for change in [(0.1, 1.3, 0.8), (0, 1, 1), (-0.5, 0.5, 1.5), (1 / 6, 1, 1)]:
        lib.dn_test_isa(b"plain")
        plain = hsv(colours, *change)
        lib.dn_test_isa(given)
        assert hsv(colours, *change).tobytes() == plain.tobytes()


def test_gray_stays_gray():
    gray = np.repeat(np.linspace(0, 1, 50, dtype=np.float32)[None], 3, axis=0)
    ours = hsv(gray, 0.3, 1.5, 1)
    assert np.isfinite(ours).all()
    assert np.abs(ours - gray).max() < 1e-6


def test_thread_count_changes_nothing():
    pixels = noise(97, 61)
    affine = {"scale_x": 2.3, "scale_y": -1.9, "offset_x": -4, "offset_y": 90}
    for threads in (0, 2, 3, 200):
        assert np.array_equal(
            to_input(pixels, (96, 64))[0],
            to_input(pixels, (96, 64), threads=threads)[0],
        )
        assert np.array_equal(
            sample(pixels, affine, (50, 40)),
            sample(pixels, affine, (50, 40), threads=threads),
        )
        assert np.array_equal(
            hsv(planar(pixels), 0.1, 1.2, 0.9),
            hsv(planar(pixels), 0.1, 1.2, 0.9, threads),
        )
