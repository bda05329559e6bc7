//! Finds calls whose ticket was lost or whose worker died, and sets them going again.
