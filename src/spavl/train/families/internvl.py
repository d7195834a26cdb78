"""InternVL (the `-hf` models): a picture and its tiles, patches shuffled together before a projector."""

from spavl.train.families.base import Family, as_tensor, chosen_layers

INTERNVL = Family(
    model_type="internvl",
    language_path="model.language_model",
    vision_path="model.vision_tower",
    projector_paths=("model.multi_modal_projector",),
    towers={"internvl_vision": "encoder.layer"},
    encoder_outputs=as_tensor,
    read_blocks=chosen_layers,
)
