"""The embedded model: a small picture-and-text model, a text model and a sentence encoder.

All three come from installed packages and a trained delta in this folder; nothing is downloaded.
"""

from spavl.embedded.assembly import mini_vlm_folder, sentence_encoder_folder, text_model_file

__all__ = ["mini_vlm_folder", "sentence_encoder_folder", "text_model_file"]
