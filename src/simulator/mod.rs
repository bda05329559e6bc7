//! A third party that misbehaves on command.
