"""What asking a served model about many pictures costs: spavl beside curator, DataDesigner and a bare loop."""
