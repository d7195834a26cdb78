"""LLaVA-1.5 and models of its shape, the embedded model among them: one square picture, a two-layer projector."""

from spavl.train.families.base import Family, chosen_layers

LLAVA = Family(
    model_type="llava",
    language_path="model.language_model",
    vision_path="model.vision_tower",
    projector_paths=("model.multi_modal_projector",),
    towers={"clip_vision_model": "encoder.layers", "siglip_vision_model": "encoder.layers", "efficientnet_lite": None},
    read_blocks=chosen_layers,
)
