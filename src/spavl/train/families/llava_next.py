"""LLaVA-NeXT (LLaVA-1.6): the picture and its tiles; a trained vector ends every row of patches."""

from spavl.train.families.base import Family, chosen_layers

LLAVA_NEXT = Family(
    model_type="llava_next",
    language_path="model.language_model",
    vision_path="model.vision_tower",
    projector_paths=("model.multi_modal_projector", "model.image_newline"),
    towers={"clip_vision_model": "encoder.layers", "siglip_vision_model": "encoder.layers"},
    inputs=("image_sizes",),
    read_blocks=chosen_layers,
)
