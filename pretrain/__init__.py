"""The pretraining core: makes DetailCLIP checkpoints. Not built yet; see CHANGELOG.md."""
