//! Management.

/// URL.
#[derive(Clone, Debug)]
pub struct ManagementUrl;
