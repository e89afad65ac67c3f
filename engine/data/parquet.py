"""Reads Parquet in memory bounded by its largest row, whatever its few bytes unpack to.

A text that stands in many rows is in the file once, so the bytes of a file say little about its rows: what a row holds is
weighed before any of it becomes an object.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.data.json_stream import LARGEST_VALUE
from engine.data.records import Problem, Record
from engine.data.source import Member
from engine.errors import DataError

_ROWS = 4096
# Of a file, what is read at a time; and of rows, what becomes objects at a time.
_BLOCK = 1 << 20
_AT_ONCE = 8 << 20
# What a group of rows may take if it has to.
_MUCH = 128 << 20
# The fewest bytes that a value has in memory.
_VALUE = 4
# Rows of more than this are not even looked at.
_HUGE = 4 * LARGEST_VALUE


def parquet(member: Member) -> Iterator[Record | Problem]:
    """Every row of the file, one after another.

    Raises:
        DataError: it is damaged, or its rows are no rows of text.
    """
    import pyarrow

    try:
        with _seekable(member) as file:
            yield from one_by_one(_batches(file, member.name))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{member.name} is a damaged Parquet file: {error}.", hint="Make it again.") from None


def parquet_rows(member: Member) -> int:
    """How many rows a Parquet file says it has."""
    import pyarrow.parquet

    with _seekable(member) as file:
        return pyarrow.parquet.ParquetFile(file).metadata.num_rows


@contextmanager
def _seekable(member: Member) -> Iterator[Any]:
    """The file, or a copy of what is packed: Parquet is read from its end."""
    with member.open() as opened:
        if not member.compression:
            yield opened
            return
        with tempfile.SpooledTemporaryFile(max_size=64 << 20) as copy:
            while chunk := opened.read(_BLOCK):
                copy.write(chunk)
            copy.seek(0)
            yield copy


def _batches(file: Any, name: str) -> Iterator[Any]:
    """The rows in groups of few bytes; texts may be references to the file's own list of texts (its dictionary)."""
    from pyarrow.parquet import ParquetFile

    plain = ParquetFile(file, buffer_size=_BLOCK)
    leaves = map(plain.schema.column, range(len(plain.schema)))
    texts = {place: leaf.path for place, leaf in enumerate(leaves) if _is_text(leaf)}
    file.seek(0)
    listed = ParquetFile(file, buffer_size=_BLOCK, read_dictionary=list(texts.values()), metadata=plain.metadata)
    for group in range(plain.metadata.num_row_groups):
        about = plain.metadata.row_group(group)
        counts = [about.column(place).num_values for place in range(about.num_columns)]
        rows, size = max(about.num_rows, 1), max(about.total_byte_size, sum(counts) * _VALUE)
        if size > _HUGE * rows:
            raise DataError(
                f"{name} has rows of more than {_HUGE >> 20} MB, each of which would have to fit into memory.",
                hint="Split them into smaller rows.",
            )
        unpacked = sum(counts[place] * _longest(listed, group, path) for place, path in texts.items())
        by_list = unpacked > _MUCH >= size  # Arrow keeps the whole list, also where it is long
        weight = size if by_list else max(size, unpacked)
        most = max(1, min(_ROWS, _AT_ONCE * rows // max(weight, 1)))
        yield from (listed if by_list else plain).iter_batches(most, [group], use_threads=False)


def _is_text(leaf: Any) -> bool:
    return leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type != "DECIMAL"


def _longest(listed: Any, group: int, path: str) -> int:
    """The most bytes of a text in the list that one column has."""
    from pyarrow import types

    array = next((batch.column(0) for batch in listed.iter_batches(1, [group], [path], use_threads=False)), None)
    while array is not None and not types.is_dictionary(array.type):
        deeper = array.flatten() if types.is_struct(array.type) else [array.values] if types.is_nested(array.type) else []
        array = deeper[0] if deeper else None
    return 0 if array is None else max((size for size in _lengths(array.dictionary).to_pylist() if size), default=0)


def one_by_one(batches: Iterable[Any]) -> Iterator[Record | Problem]:
    """The rows of Arrow's batches, numbered from one."""
    number = 0
    for rows in _light(batches):
        if rows is None:
            number += 1
            yield Problem(number, "", "too large", f"Row {number} holds more than {LARGEST_VALUE >> 20} MB.")
            continue
        for values in rows.to_pylist():
            number += 1
            yield Record(number, values)


def _light(batches: Iterable[Any]) -> Iterator[Any]:
    """The same rows in groups that are light enough to be written out; None in the place of a row that is too large."""
    for batch in batches:
        left = [batch]
        while left:
            rows = left.pop()
            weight, half = _weight(rows.to_struct_array()), rows.num_rows // 2
            if weight > _AT_ONCE and half:
                left += [rows.slice(half), rows.slice(0, half)]
            elif weight > LARGEST_VALUE:
                yield from [None] * rows.num_rows
            else:
                yield rows


def _weight(array: Any) -> int:
    """How many bytes the values of an Arrow array have when each is written out."""
    from pyarrow import types

    kind = array.type
    if types.is_dictionary(kind) and not types.is_primitive(kind.value_type):
        return (_lengths(array.dictionary).take(array.indices).sum().as_py() or 0) + array.indices.nbytes
    if types.is_struct(kind):
        return sum(map(_weight, array.flatten()))
    if types.is_map(kind) and len(array):
        first, last = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
        return sum(_weight(part.slice(first, last - first)) for part in (array.keys, array.items))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _weight(array.flatten())
    return array.nbytes


def _lengths(texts: Any) -> Any:
    import pyarrow.compute

    compute: Any = pyarrow.compute  # its functions are made when it is loaded
    return compute.binary_length(texts)
