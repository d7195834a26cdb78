"""What spavl and VLMEvalKit print where the judge is broken."""
