"""Positions of the Qwen-VL models: frame, row and column of a picture's patches, as the model itself counts them."""

from torch import Tensor

from spavl.train.families.base import Encoded, Model

COMPONENTS = 3


def grid_positions(model: Model, ids: Tensor, encoded: Encoded) -> Tensor:
    """Returns (3, L) from the model's own `get_rope_index`; text has the same position in all three components.

    A picture of h x w merged patches that follows position p takes (p+1, p+1+row, p+1+column), and the text behind it
    goes on from p + 1 + max(h, w) (Qwen2-VL, arXiv:2409.12191, section 2.1).
    """
    positions, _ = model.base_model.get_rope_index(
        ids[None], mm_token_type_ids=(ids == model.config.image_token_id).int()[None], image_grid_thw=encoded.grid
    )
    return positions[:, 0]  # type: ignore[no-any-return]  # untyped library
