"""Strategies for what people and programs send: data files, settings, YAML, command lines."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from functools import cache
from typing import Any

import yaml
from hypothesis import strategies as st

from engine.registry import specs
from engine.samples import samples

ENDINGS = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".md", ".jsonl.gz", ".csv.gz", ".zip", "")
# Pieces that readers of files trip over.
_PIECES = [
    b"\x00",
    b'"',
    b"\n",
    b"\r\n",
    b",",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\\",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"null",
    b"NaN",
    b"1e999",
    b"-0",
    b"\\ud800",
    b'"prompt"',
    b'"messages"',
    b"PAR1",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"\t",
    b";",
    b"\xe2\x80\xa8",
]
_ODD = st.sampled_from(
    [
        "",
        " ",
        "0",
        "-1",
        "1e400",
        "nan",
        "null",
        "[]",
        "{}",
        "../..",
        "/etc/passwd",
        "sample:",
        "\ud83d\ude42",
        "a" * 5000,
        "\x00",
        "x\ny",
        "sample:neighbours",
        "starter",
        "auto",
        "true",
        "1,5",
        "٣",
        "=1+1",
    ]
)
# Marks that mean something to YAML.
_MARKS = ["&a ", "*a", "!!python/object ", ": ", "- ", "\t", "|", "{", "]", "#", "<<", "%", "\x00", "'"]
_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


# ---- files ---------------------------------------------------------------------------------------------------------------


@cache
def _seeds() -> tuple[bytes, ...]:
    """The beginnings of the samples, as every format has them."""
    made = []
    for sample in samples():
        content = sample.path.read_bytes()
        start = content[:3000]
        made += [content[:60_000], start[: start.rfind(b"\n") + 1]]
    rows = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(20)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    table = "prompt,completion\n" + "".join(f'"{row["prompt"]}","{row["completion"]}"\n' for row in rows)
    made += [json.dumps(rows, indent=1).encode(), lines, table.encode(), table.encode("utf-16"), _parquet(rows)]
    made += [gzip.compress(lines), _zipped({"a.jsonl": lines, "b/c.csv": table.encode()})]
    return tuple(made)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    written = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), written)
    return written.getvalue()


def _zipped(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A good file with some of its bytes changed, cut out, doubled, or put elsewhere."""
    content = draw(st.sampled_from(_seeds()))
    for _ in range(draw(st.integers(0, 6))):
        at, length = draw(st.integers(0, len(content))), draw(st.integers(0, 300))
        middle = content[at : at + length]
        change = draw(st.integers(0, 5))
        put = {0: b"", 1: middle * 2, 2: middle[::-1], 3: draw(st.binary(max_size=30))}.get(change)
        put = draw(st.sampled_from(_PIECES)) + middle if put is None else put
        content = content[:at] + put + content[at + length :]
        if change == 5:
            content = content[: draw(st.integers(0, len(content)))]
    return content


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file's name and content; now and then packed, now and then with another format's ending."""
    content = draw(
        _mutated() | st.binary(max_size=400) | st.text(max_size=400).map(lambda t: t.encode("utf-8", "surrogatepass"))
    )
    packed = draw(st.integers(0, 9))
    if packed == 0:
        content = gzip.compress(content)
    elif packed == 1:
        content = _zipped({f"a{draw(st.sampled_from(ENDINGS))}": content})
    return f"data{draw(st.sampled_from(ENDINGS))}", content


KINDS = st.sampled_from([None, *sorted({spec.rows for spec in specs().values()})])


# ---- settings ------------------------------------------------------------------------------------------------------------


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted({name for spec in specs().values() for name in spec.params.model_fields}))


def _keys() -> Any:
    return (
        st.sampled_from(_names())
        | st.sampled_from(["dpo_beta", "block_size", "per_device_train_batch_size"])
        | st.text(max_size=12)
    )


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    """Settings as a program sends them: a known trainer more often than not, known names, any values."""
    given = draw(st.dictionaries(_keys(), _VALUES, max_size=6))
    if draw(st.integers(0, 4)):
        given["trainer"] = draw(st.sampled_from(sorted(specs())))
    if draw(st.integers(0, 2)):
        given["data_path"] = draw(st.sampled_from(["sample:neighbours", "sample:manners", "nowhere.jsonl"]))
    return given


@st.composite
def yaml_texts(draw: st.DrawFn) -> str:
    """Settings, pipelines or anything else as YAML, with some characters changed."""
    value = draw(settings() | pipelines() | _VALUES)
    try:
        text = yaml.safe_dump(value, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        text = repr(value)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        put = draw(st.sampled_from(_MARKS) | st.text(max_size=3))
        text = text[:at] + put + text[at + draw(st.integers(0, 4)) :]
    return text


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Any]:
    """A pipeline's mapping, sound in parts."""
    stages = draw(
        st.dictionaries(
            st.sampled_from(["a", "b", "c", "x y", "", "é"]) | st.text(max_size=5), settings() | _VALUES, max_size=4
        )
    )
    for stage in stages.values():
        if isinstance(stage, dict) and not draw(st.integers(0, 2)):
            stage["model"] = draw(st.sampled_from(["a", "b", "starter"]))
            stage["gate"] = draw(st.sampled_from(["eval_loss < 1", "loss", "eval_loss <", "eval_x > nan"]) | _VALUES)
    made = {"pipeline": draw(st.sampled_from(["town", "../x", ""]) | _VALUES), "stages": stages}
    return {**made, **draw(st.dictionaries(st.text(max_size=6), _VALUES, max_size=1))}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Words after `aitraining` that train nothing: flags in any order, with any values."""
    first = draw(
        st.sampled_from(["llm", "llm", "llm", "runs", "stop", "resume", "follow", "export", "pipelines", "xyz", "--help"])
    )
    words = [first]
    for _ in range(draw(st.integers(0, 5))):
        flag = draw(st.sampled_from(_names())).replace("_", "-")
        words.append(
            draw(st.sampled_from([f"--{flag}", f"--no-{flag}", f"--{flag}=", "--json", "--dry-run"]) | st.text(max_size=8))
        )
        if draw(st.booleans()):
            words.append(draw(_ODD | st.integers().map(str) | st.floats().map(str) | st.text(max_size=10)))
    return words
