"""The packaged sentence encoder, for real."""

import json
import subprocess
import sys

import numpy as np
import pytest

from spavl.embedded import sentences
from spavl.embedded.sentences import BATCH_SIZE, DIMENSION, sentence_encoder, sentence_encoder_folder
from spavl.errors import UserError


def test_vectors_have_length_one_and_meaning() -> None:
    kitten, cat, bread = sentence_encoder().encode(["a kitten", "a young cat", "how to bake bread"])
    assert kitten.dtype == np.float32
    assert kitten.shape == (DIMENSION,)
    assert np.linalg.norm(kitten) == pytest.approx(1, abs=1e-5)
    assert kitten @ cat > 0.5 > 0.3 > kitten @ bread


def test_order_and_number_are_kept_over_batches() -> None:
    texts = [f"number {number}" for number in range(BATCH_SIZE + 3)]
    vectors = sentence_encoder().encode(texts)
    alone = np.concatenate([sentence_encoder().encode([text]) for text in (texts[0], texts[-1])])
    assert vectors.shape == (BATCH_SIZE + 3, DIMENSION)
    assert np.abs(vectors[[0, -1]] - alone).max() < 1e-5
    assert sentence_encoder().encode([]).shape == (0, DIMENSION)


def test_the_same_texts_give_the_same_bits() -> None:
    texts = ["a red ball", "a much longer sentence about a red ball on a green table"]
    assert np.array_equal(sentence_encoder().encode(texts), sentence_encoder().encode(texts))


APART = """
import json, sys
import spavl.cli.main, spavl.pipeline
from spavl.embedded.sentences import encoder_apart
with encoder_apart() as encode:
    found = [encode(texts).tolist() for texts in json.loads(sys.argv[1])]
print(json.dumps([found, "torch" in sys.modules]))
"""


def test_a_build_encodes_without_torch_in_its_own_process_to_the_same_bits() -> None:
    """A child process is asked twice: for more texts than a batch has, and for one that it knows already."""
    asked = [[f"a red ball, number {number}" for number in range(BATCH_SIZE + 1)], ["a red ball, number 3"]]
    done = subprocess.run([sys.executable, "-c", APART, json.dumps(asked)], capture_output=True, text=True, check=True)
    found, torch_loaded = json.loads(done.stdout)
    assert not torch_loaded
    for vectors, texts in zip(found, asked, strict=True):
        assert np.array_equal(np.array(vectors, np.float32), sentence_encoder().encode(texts))


def test_the_encoder_is_loaded_once() -> None:
    assert sentence_encoder() is sentence_encoder()


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'spavl\[embedded\]'"):
        sentence_encoder_folder()


def test_a_text_met_before_is_not_computed_again() -> None:
    """Of five texts in two calls three are different, so three are computed; answers stand in the order asked."""
    computed: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:
        computed.extend(texts)
        return np.array([[len(text)] * DIMENSION for text in texts], np.float32)

    encoder = sentences.SentenceEncoder(embed)
    encoder.encode(["aa", "b", "aa"])
    assert encoder.encode(["ccc", "b"])[:, 0].tolist() == [3, 1]
    assert computed == ["aa", "b", "ccc"]


@pytest.mark.slow
@pytest.mark.parametrize("asked", [b'["a red ball"]\n', b'["a red'], ids=["before the answer", "while asking"])
def test_the_encoders_process_ends_without_a_word_when_who_asked_was_killed(asked: bytes) -> None:
    """A killed process's ends of both pipes close, whatever it was at."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "spavl.embedded.sentences"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(asked)
        process.stdin.close()
        said = process.stderr.read().decode()
    assert "Traceback" not in said and "BrokenPipe" not in said
    assert process.returncode == 0
