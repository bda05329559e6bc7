//! Group commit: what many tasks want at the same time becomes one batch and one commit.
