"""The embedded models: a small picture-and-text model, a text model and a sentence encoder.

All three come from installed packages and a trained delta in this folder; nothing is downloaded. Import from the
modules: `assembly` needs torch and all packages, `sentences` loads torch only when it encodes.
"""
