"""The rows of the dataset as Arrow tables: TRL's columns first, then what SPA-VL's users keep asking for.

Features are written into the schema's `huggingface` metadata, so `datasets` decodes the pictures without being told.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.records import Caption, Failure, ImageRecord, PreferencePair, Question, leaf_parts

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CONTENT = pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))
TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", CONTENT)]))
TEXT_COLUMNS = (
    "question_type",
    "class1",
    "class2",
    "class3",
    "chosen_responder",
    "rejected_responder",
    "chosen_verdict",
    "rejected_verdict",
    "chosen_finish",
    "rejected_finish",
    "judge",
    "image_id",
    "image_sha256",
    "licence",
    "caption",
    "model_caption",
    "caption_fallback",
    "pair_id",
)
QUESTION_COLUMNS = (
    "question",
    "question_type",
    "class1",
    "class2",
    "class3",
    "image_id",
    "licence",
    "caption",
    "model_caption",
    "caption_fallback",
    "question_id",
)


class Picture(NamedTuple):
    """A picture, and what became of its caption."""

    record: ImageRecord
    written: Caption | Failure | None = None
    """The caption that a model wrote, or why there is none; None where no model was asked."""

    @property
    def columns(self) -> dict[str, str | None]:
        """What every row about the picture says of it; `caption` is the source's."""
        written = self.written
        return {
            "image_id": self.record.id,
            "licence": self.record.licence,
            "caption": self.record.caption,
            "model_caption": written.text if isinstance(written, Caption) else None,
            "caption_fallback": written.reason if isinstance(written, Failure) else None,
        }


class _Sent(io.RawIOBase):
    """A file that is written from its beginning to its end, and gives away what was written."""

    def __init__(self) -> None:
        self._fresh: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, content: bytes) -> int:  # type: ignore[override]  # Arrow writes nothing but bytes
        self._fresh.append(bytes(content))
        self._size += len(self._fresh[-1])
        return len(self._fresh[-1])

    def take(self) -> bytes:
        taken, self._fresh = b"".join(self._fresh), []
        return taken


def parquet_bytes(schema: pa.Schema, tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """Yields the bytes of a Parquet file, each table being a row group of it."""
    sent = _Sent()
    with pq.ParquetWriter(sent, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            yield sent.take()
    yield sent.take()


def pair_table(
    pairs: Sequence[PreferencePair], picture: Callable[[str], Picture], read: Callable[[ImageRecord], bytes]
) -> pa.Table:
    """Returns the preference pairs as a table whose first columns are `images, prompt, chosen, rejected` (TRL)."""
    rows = [_pair_row(pair, picture(pair.image_id), read) for pair in pairs]
    return pa.Table.from_pylist(rows, schema=pair_schema())


def question_table(
    questions: Sequence[Question], picture: Callable[[str], Picture], read: Callable[[ImageRecord], bytes]
) -> pa.Table:
    """Returns the test questions as a table with SPA-VL's test columns (`image, question, class1..3`)."""
    rows = [_question_row(question, picture(question.image_id), read) for question in questions]
    return pa.Table.from_pylist(rows, schema=question_schema())


def pair_schema() -> pa.Schema:
    """Returns the schema of preference pairs: TRL's columns, then the others."""
    fields = [
        pa.field("images", pa.list_(IMAGE)),
        pa.field("prompt", TURNS),
        pa.field("chosen", TURNS),
        pa.field("rejected", TURNS),
        *(pa.field(name, pa.string()) for name in TEXT_COLUMNS),
        pa.field("rationales", pa.list_(pa.string())),
        pa.field("strength", pa.float64()),
    ]
    features: dict[str, Any] = {"images": _list_feature({"_type": "Image"})}
    features |= {name: _turns_feature() for name in ("prompt", "chosen", "rejected")}
    features |= {name: _text_feature() for name in TEXT_COLUMNS}
    features["rationales"] = _list_feature(_text_feature())
    features["strength"] = {"dtype": "float64", "_type": "Value"}
    return _schema(fields, features)


def question_schema() -> pa.Schema:
    """Returns the schema of test questions: SPA-VL's columns, then the others."""
    return picture_schema(QUESTION_COLUMNS)


def picture_schema(texts: Sequence[str], lists: Sequence[str] = ()) -> pa.Schema:
    """Returns the schema of a picture in `image`, columns of text, and columns of lists of texts."""
    fields = [pa.field("image", IMAGE), *(pa.field(name, pa.string()) for name in texts)]
    fields += [pa.field(name, pa.list_(pa.string())) for name in lists]
    features: dict[str, Any] = {"image": {"_type": "Image"}} | {name: _text_feature() for name in texts}
    return _schema(fields, features | {name: _list_feature(_text_feature()) for name in lists})


def user_turn(question: str) -> list[dict[str, Any]]:
    """Returns a prompt: a picture and a question."""
    return [{"role": "user", "content": [{"type": "image", "text": None}, _text(question)]}]


def assistant_turn(answer: str) -> list[dict[str, Any]]:
    """Returns an answer."""
    return [{"role": "assistant", "content": [_text(answer)]}]


def _pair_row(pair: PreferencePair, picture: Picture, read: Callable[[ImageRecord], bytes]) -> dict[str, Any]:
    domain, category, subcategory = leaf_parts(pair.leaf)
    image = picture.record
    return {
        "images": [{"bytes": read(image), "path": f"{image.id}.{image.format}"}],
        "prompt": user_turn(pair.question),
        "chosen": assistant_turn(pair.chosen),
        "rejected": assistant_turn(pair.rejected),
        "class1": domain,
        "class2": category,
        "class3": subcategory,
        "image_sha256": image.sha256,
        "pair_id": pair.id,
        **{name: getattr(pair, name) for name in TEXT_COLUMNS if name in PreferencePair.model_fields},
        **picture.columns,
        "rationales": list(pair.rationales),
        "strength": pair.strength,
    }


def _question_row(question: Question, picture: Picture, read: Callable[[ImageRecord], bytes]) -> dict[str, Any]:
    domain, category, subcategory = leaf_parts(question.leaf)
    image = picture.record
    return {
        "image": {"bytes": read(image), "path": f"{image.id}.{image.format}"},
        "question": question.text,
        "question_type": question.question_type,
        "class1": domain,
        "class2": category,
        "class3": subcategory,
        **picture.columns,
        "question_id": question.id,
    }


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _schema(fields: Sequence[pa.Field], features: Mapping[str, Any]) -> pa.Schema:
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(fields, metadata=metadata)


def _text_feature() -> dict[str, str]:
    return {"dtype": "string", "_type": "Value"}


def _list_feature(feature: Mapping[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


def _turns_feature() -> dict[str, Any]:
    content = _list_feature({"type": _text_feature(), "text": _text_feature()})
    return _list_feature({"role": _text_feature(), "content": content})
