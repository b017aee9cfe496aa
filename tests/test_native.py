"""The loading of the C library: definitions, ABI version, statuses as exceptions."""

import pytest

from yolomask import _native
from yolomask._native import check, ffi, lib
from yolomask.network_options import PRECISIONS, PRODUCTS


def test_abi_versions_agree():
    assert lib.dn_abi_version() == lib.DN_ABI_VERSION


def test_every_status_has_an_exception():
    statuses = ffi.typeof("dn_status").elements
    assert set(statuses) - {lib.DN_OK} == set(_native.EXCEPTIONS)
    check(lib.DN_OK)
    for status, kind in _native.EXCEPTIONS.items():
        with pytest.raises(kind):
            check(status)


def test_every_precision_has_its_name():
    numbers = ffi.typeof("dn_precision").relements
    names = {
        name.removeprefix("DN_PRECISION_").lower().replace("_", "-"): number
        for name, number in numbers.items()
    }
    assert {None: names.pop("default"), **names} == PRECISIONS


def test_all_products_have_names():
    numbers = ffi.typeof("dn_products").elements
    assert set(PRODUCTS.values()) == set(numbers)
    assert ffi.string(lib.dn_products_name(lib.DN_PRODUCTS_F32)) == b"float32"
    assert {"tf32": lib.DN_PRODUCTS_TF32, "fp16": lib.DN_PRODUCTS_F16}.items() <= PRODUCTS.items()


def test_missing_library_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOMASK_LIBRARY", str(tmp_path / "nothing.so"))
    with pytest.raises(ImportError, match="nothing.so.*make"):
        _native.find_library()


def test_header_without_marks_is_said(tmp_path):
    header = tmp_path / "darknet.h"
    header.write_text("int dn_abi_version(void);\n")
    with pytest.raises(ImportError, match="marks are missing"):
        _native.read_definitions(header)


def test_library_older_than_the_header_is_said(monkeypatch, tmp_path):
    library, header = _native.find_library()
    text = header.read_text().replace(
        "/* cffi: end */", "int dn_of_tomorrow(void);\n/* cffi: end */"
    )
    (tmp_path / "darknet.h").write_text(text)
    monkeypatch.setattr(_native, "find_library", lambda: (library, tmp_path / "darknet.h"))
    with pytest.raises(ImportError, match=r"has no dn_of_tomorrow: it is older than .*darknet.h"):
        _native.load()
