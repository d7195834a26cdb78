"""Configuration of the images station: where pictures come from, what is kept about each, and what is left out."""

from typing import Annotated, Literal

from pydantic import Field

from spavl.config_base import Config, NamedPath


class PackagedSource(Config):
    """Pictures that installed packages carry: Python packages always, the 3-D emoji set where npm has installed it."""

    kind: Literal["packaged"] = "packaged"


class FolderSource(Config):
    """A folder of pictures; captions from `metadata.csv` or `metadata.jsonl` (file_name, caption, licence) or names.

    Of every source PNG, JPEG, WebP, GIF and BMP are read; TIFF, AVIF and HEIC are counted as `unsupported_format`.
    """

    kind: Literal["folder"]
    path: NamedPath
    licence: str = "unknown"
    """Licence of pictures whose metadata names none."""


class ColumnNames(Config):
    """What the columns of a table, or the keys of a JSON file, are called; one that is not named is looked for."""

    caption_column: str | None = None
    """`null` looks for `caption` and `text`, in any case of letters."""
    licence_column: str | None = None
    """`null` looks for `licence` and `license`."""
    similarity_column: str | None = None
    """How alike picture and caption are, by whoever made the source; `null` looks for `similarity`."""
    keep: tuple[str, ...] = ()
    """Further columns that are kept with each picture."""
    licence: str | None = None
    """Licence of pictures for which the source names none; `null` is unknown."""


class TableSource(ColumnNames):
    """A Parquet or CSV table of addresses with captions, as LAION's; the pictures are downloaded.

    The words of an address's file name stand in for a caption that is empty; where there are no captions at all, name
    the column of addresses as `caption_column`.
    """

    kind: Literal["table"]
    path: NamedPath
    """A file, or a folder of files of one kind."""
    url_column: str | None = None
    """`null` looks for `url`, in any case of letters."""
    concurrency: int = Field(32, ge=1)
    """Downloads in flight."""
    per_host: int = Field(4, ge=1)
    """Downloads in flight from one host."""
    timeout_s: float = Field(30.0, gt=0)
    """Seconds for one try of one download."""
    retries: int = Field(2, ge=0)
    """Further tries after a lost connection, a timeout, 429 or 5xx."""
    max_redirects: int = Field(5, ge=0)
    honour_robots: bool = True
    """Whether hosts that opt out, by `robots.txt` or by `X-Robots-Tag` (noai, noimageai, noindex), are obeyed."""
    contact: str = Field("", pattern=r"^[\x21-\x7e]*$")
    """Address or page that the User-Agent names, so that hosts can reach you."""
    allow_private_hosts: bool = False
    """Whether loopback, private and link-local addresses may be asked; for an intranet whose table you trust."""


class DatasetSource(ColumnNames):
    """A Hugging Face dataset: a local folder in the hub's layout (Parquet or imagefolder), or a hub id."""

    kind: Literal["dataset"]
    path: str = Field(min_length=1)
    """Local folder, or a hub id."""
    revision: str | None = None
    """Commit, tag or branch of a hub id; `refs/convert/parquet` has every dataset that the hub could convert."""
    split: str = "train"
    image_column: str | None = None
    """`null` looks for a column of the type Image."""


class WebDatasetSource(ColumnNames):
    """Tar files with pictures, and beside each by its key a `.txt` with the caption or a `.json`."""

    kind: Literal["webdataset"]
    path: NamedPath
    """A tar file, a folder of them, or a pattern such as `shards/*.tar`."""


SourceConfig = Annotated[
    PackagedSource | FolderSource | TableSource | DatasetSource | WebDatasetSource, Field(discriminator="kind")
]


class PictureModelConfig(Config):
    """A model that looks at pictures: a local folder in the hub's layout with safetensors, or a hub id."""

    path: str = Field(min_length=1)
    """Local folder, or a hub id."""
    revision: str | None = None
    """Commit or tag, for a hub id."""
    device: str = "cpu"


class CaptionMatchConfig(PictureModelConfig):
    """A model of CLIP's kind that says how well a picture matches its source's caption."""

    min_similarity: float | None = Field(None, ge=-1, le=1)
    """Least cosine similarity of picture and caption; `null` leaves none out and only keeps the figure."""


class PictureTextConfig(Config):
    """Reads the text in pictures (OCR; `pip install 'spavl[ocr]'`)."""

    max_chars: int | None = Field(None, ge=0)
    """Most characters that may be read in a picture; `null` leaves none out and only keeps the figure."""


class ExplicitConfig(PictureModelConfig):
    """An image classifier that sends explicit pictures to people: the run's `images/needs_review.jsonl`."""

    labels: tuple[str, ...] = Field(min_length=1)
    """The classifier's names of what is explicit, as in its `id2label`."""
    threshold: float = Field(0.5, ge=0, le=1)
    """Least probability of these labels together at which a picture waits."""
    released: NamedPath | None = None
    """File of pictures that people let in, of the same form as `images.remove`."""


class ImagesConfig(Config):
    """Which pictures are collected, and what is left out."""

    source: SourceConfig = PackagedSource()
    remove: NamedPath | None = None
    """File of pictures that never enter: an image id or SHA-256 (stored or original file) a line, `#` for remarks."""
    leaves: tuple[str, ...] = ()
    """Subcategories to collect for; empty means all."""
    per_leaf: int = Field(2, ge=1)
    """Pictures of each leaf."""
    quotas: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Subcategory -> number of its pictures, in place of `per_leaf`."""
    min_similarity: float = Field(0.25, ge=-1, le=1)
    """Least cosine similarity between a leaf's keyword and a caption."""
    max_bytes: int = Field(50_000_000, ge=1)
    """Largest picture file."""
    max_pixels: int = Field(40_000_000, ge=1, le=178_956_970)
    """Largest width times height that is decoded; Pillow's own limit is the most."""
    min_side: int = Field(32, ge=1)
    """Shortest side, in pixels."""
    max_aspect: float | None = Field(20.0, ge=1)
    """Most times that a side may be as long as the other; of a longer strip the stored copy shows little."""
    stored_side: int = Field(512, ge=32)
    """Longer side of the stored copy, in pixels."""
    duplicate_bits: int = Field(4, ge=0, le=32)
    """Two pictures are duplicates when their 64-bit perceptual hashes differ in at most this many bits."""
    caption_match: CaptionMatchConfig | None = None
    """How well pictures match their captions; `null` does not ask."""
    text: PictureTextConfig | None = None
    """How much text is in pictures; `null` does not read."""
    explicit: ExplicitConfig | None = None
    """Which pictures people should look at first; `null` does not ask."""
