"""Entry scripts of the shapes that people wrote for Azure ML run as they are: one repo, one service a script."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from tests.examples.stage import HERE, Stage

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
ROWS = {"data": [[1, 2], [3, 4]]}
FIVE_ELEVEN = [pytest.approx(5), pytest.approx(11)]


ANSWERS: list[tuple[str, object, object]] = [
    ("model-dir", ROWS, FIVE_ELEVEN),
    ("model-dir", {"rows": []}, "'data'"),
    ("core-import", ROWS, {"result": FIVE_ELEVEN, "traceparent": "none", "host": True}),
    ("two-models", ROWS, [pytest.approx(15), pytest.approx(21)]),
    ("numpy-schema", ROWS, FIVE_ELEVEN),
    (
        "pandas-schema",
        {"data": [{"age": 1, "weight": 2}]},
        {"Results": [pytest.approx(5)], "columns": ["age", "weight"]},
    ),
    (
        "pandas-schema",
        {"data": [{"age": 1, "weight": 2}], "method": "none"},
        {"Results": [pytest.approx(0, abs=1e-9)], "columns": ["age", "weight"]},
    ),
    ("power-bi", {"Inputs": {"input1": [[1, 2]]}, "GlobalParameters": 2.0}, [pytest.approx(10)]),
    ("folder", {"data": [[1, 0], [0, 1]]}, {"predictions": [1, 0], "labels": ["one", "zero"], "score": 1.0}),
    ("packaged", {"text": "The cat and that cat at home"}, {"cat": 2, "home": 1}),
    ("collected", ROWS, FIVE_ELEVEN),
]


def test_scripts_of_every_shape_run_unchanged(stage: Stage, tmp_path: Path):
    """All are applied at once; each gives its result, or the error that it catches itself, as JSON."""
    stage.copy(HERE / "scripts")
    stage.good("apply")
    for service, data, answer in ANSWERS:
        assert stage.score(service, data) == answer, service
    check_texts_and_sessions(stage)
    check_logs(stage)
    check_pictures(stage, tmp_path)


def check_texts_and_sessions(stage: Stage) -> None:
    """A text made by `json.dumps` stays one JSON text; `get_model_path` gives the file of a registered file."""
    answer = stage.score("model-path", ROWS)
    assert isinstance(answer, str)
    assert json.loads(answer) == {"result": FIVE_ELEVEN}
    assert json.loads(stage.score("model-path", {})) == {"error": "'data'"}
    answer = stage.score("onnx-session", {"data": [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]})
    assert answer["result"] == [0, 2]
    assert answer["time_in_sec"] >= 0


def check_logs(stage: Stage) -> None:
    """print, logging and a caught exception's traceback show in `reconciler logs`."""
    log = stage.good("logs", "model-dir", "-n", "50")
    for part in ("init done", "run with 12 characters", "KeyError: 'data'"):
        assert part in log


def check_pictures(stage: Stage, folder: Path) -> None:
    """A raw script reads a form's file and the body itself; GET gives it the path; its traceback stays in the log."""
    for body, kind in ((in_a_form(png(3, 2)), "multipart/form-data; boundary=XX"), (png(3, 2), "image/png")):
        (folder / "body").write_bytes(body)
        out = stage.good("score", "picture", "--data", f"@{folder / 'body'}", "--content-type", kind)
        assert json.loads(out) == [3, 2]
    assert stage.ask("picture", "/score?size=1") == (200, b"/score?size=1")
    status, body = stage.ask("picture", "/score", "POST", b"no picture")
    assert (status, b"UnidentifiedImageError" in body) == (500, False)
    assert "UnidentifiedImageError" in stage.good("logs", "picture", "-n", "50")


def png(width: int, height: int) -> bytes:
    """A black picture (PNG, RFC 2083)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\0\0\0" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def in_a_form(picture: bytes) -> bytes:
    """The picture as the file `image` of a form with the boundary XX."""
    head = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return head + picture + b"\r\n--XX--\r\n"
